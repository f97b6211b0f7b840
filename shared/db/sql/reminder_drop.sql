-- Before the first call of a batch that waited: whoever has paid meanwhile, or wants no mail any more, is left out; so is a
-- one-off whose run was cancelled. What waited for too long is forgotten, rows and all: it would say what is no longer true,
-- and the selection decides anew. (What a person sends again has a parent, and is only left out if nothing is owed.)
-- Nothing was sent yet, so the content may still change.
WITH batch AS (
  SELECT id, parent_id, parent_id IS NULL AND created_at < now() - CAST(:frozen_for AS interval) AS stale
  FROM reminder_batches
  WHERE id = :id AND run_id = :run_id AND run_attempt = :run_attempt AND status = 'pending' AND calls = 0
    AND EXISTS (SELECT FROM job_runs WHERE id = :run_id AND attempt = :run_attempt AND state = 'running')
  FOR UPDATE
), forgotten AS (
  DELETE FROM payment_reminders p USING batch b
  WHERE p.batch_id = b.id AND p.status = 'pending' AND b.stale AND p.invoice_id IS NOT NULL
  RETURNING p.id
), dropped AS (
  UPDATE payment_reminders p SET updated_at = now(), batch_id = NULL,
    status = CASE WHEN s.email IS NULL THEN 'skipped' ELSE 'suppressed' END,
    reason = coalesce(s.reason, CASE WHEN r.id IS NULL THEN 'no longer owed' ELSE 'cancelled' END)
  FROM batch b, payment_reminders q
    LEFT JOIN suppressions s ON s.email = cuebx_address(q.email)
    LEFT JOIN invoices i ON i.id = q.invoice_id
    LEFT JOIN job_runs r ON r.id = q.once_run_id AND r.state = 'cancelled'
  WHERE q.batch_id = b.id AND q.status = 'pending' AND p.id = q.id AND NOT (b.stale AND q.invoice_id IS NOT NULL)
    AND (s.email IS NOT NULL OR i.status <> 'open' OR (r.id IS NOT NULL AND b.parent_id IS NULL)
      OR (q.invoice_id IS NULL AND NOT EXISTS (
        SELECT FROM invoices o WHERE o.customer_id = q.customer_id AND o.status = 'open')))
  RETURNING p.id
), gone AS (
  SELECT id FROM forgotten UNION ALL SELECT id FROM dropped
), kept AS (
  SELECT coalesce(jsonb_agg(m.member ORDER BY m.place) FILTER (
    WHERE CAST(m.member ->> 'id' AS uuid) NOT IN (SELECT id FROM gone)), '[]') AS members
  FROM reminder_batches b, jsonb_array_elements(b.content -> 'members') WITH ORDINALITY AS m (member, place)
  WHERE b.id = :id
)
UPDATE reminder_batches b SET content = jsonb_build_object('members', k.members),
  status = CASE WHEN k.members = '[]' THEN 'void' ELSE b.status END,
  finished_at = CASE WHEN k.members = '[]' THEN now() END,
  error = CASE WHEN k.members = '[]' THEN 'nobody is left to remind' ELSE b.error END
FROM batch, kept k
WHERE b.id = batch.id AND EXISTS (SELECT FROM gone)
RETURNING b.content, b.status
