-- A new batch, with a key and a tag of its own, for one reminder that a person sends again. It is nobody's: the next run of the
-- queue adopts it.
WITH batch AS (
  INSERT INTO reminder_batches (id, tag, content, parent_id)
  VALUES (CAST(:batch_id AS uuid), 'reminders-' || CAST(:batch_id AS text), CAST(CAST(:content AS text) AS jsonb), CAST(:parent_id AS uuid))
  RETURNING id
)
UPDATE payment_reminders p SET batch_id = b.id, status = 'pending', reason = NULL, message_id = NULL, sent_at = NULL,
  email = CAST(:email AS text), updated_at = now()
FROM batch b WHERE p.id = :id
RETURNING p.id
