-- What the provider's events say, address by address: an address is in a batch once (rule 31). Matches by the batch's tag, or
-- by message id where the event names no tag.
WITH told AS (
  SELECT * FROM unnest(
    CAST(:emails AS text[]), CAST(:statuses AS text[]), CAST(:message_ids AS text[]), CAST(:reasons AS text[])
  ) AS t (email, status, message_id, reason)
), found AS (
  SELECT p.id, t.status, t.message_id, t.reason FROM told t
  JOIN payment_reminders p ON cuebx_address(p.email) = t.email
    AND (p.batch_id IN (SELECT id FROM reminder_batches WHERE tag = ANY (CAST(:tags AS text[])))
         OR p.message_id = t.message_id)
)
UPDATE payment_reminders p
SET status = f.status, message_id = coalesce(p.message_id, nullif(f.message_id, '')), reason = f.reason, updated_at = now(),
  sent_at = coalesce(p.sent_at, now())
FROM found f
WHERE p.id = f.id AND (
  (f.status = 'sent' AND p.status = ANY (CAST(:before_sent AS text[])))
  OR (f.status <> 'sent' AND p.status = ANY (CAST(:before_undelivered AS text[]))))
RETURNING p.id, p.batch_id, p.status
