-- Before the first call of a batch that waited: whoever has paid meanwhile, or wants no mail any more, is left out. Nothing
-- was sent yet, so the content may still change.
WITH batch AS (
  SELECT id FROM reminder_batches
  WHERE id = :id AND run_id = :run_id AND run_attempt = :run_attempt AND status = 'pending' AND calls = 0
  FOR UPDATE
), dropped AS (
  UPDATE payment_reminders p SET updated_at = now(), batch_id = NULL,
    status = CASE WHEN s.email IS NULL THEN 'skipped' ELSE 'suppressed' END,
    reason = coalesce(s.reason, 'no longer owed')
  FROM batch b, payment_reminders q
    LEFT JOIN suppressions s ON s.email = lower(q.email)
    LEFT JOIN invoices i ON i.id = q.invoice_id
  WHERE q.batch_id = b.id AND q.status = 'pending' AND p.id = q.id
    AND (s.email IS NOT NULL OR i.status <> 'open' OR (q.invoice_id IS NULL AND NOT EXISTS (
      SELECT FROM invoices o WHERE o.customer_id = q.customer_id AND o.status = 'open')))
  RETURNING p.id
), kept AS (
  SELECT coalesce(jsonb_agg(m.member ORDER BY m.place) FILTER (
    WHERE CAST(m.member ->> 'id' AS uuid) NOT IN (SELECT id FROM dropped)), '[]') AS members
  FROM reminder_batches b, jsonb_array_elements(b.content -> 'members') WITH ORDINALITY AS m (member, place)
  WHERE b.id = :id
)
UPDATE reminder_batches b SET content = jsonb_build_object('members', k.members),
  status = CASE WHEN k.members = '[]' THEN 'void' ELSE b.status END,
  finished_at = CASE WHEN k.members = '[]' THEN now() END,
  error = CASE WHEN k.members = '[]' THEN 'nobody is left to remind' ELSE b.error END
FROM batch, kept k
WHERE b.id = batch.id AND EXISTS (SELECT FROM dropped)
RETURNING b.content, b.status
