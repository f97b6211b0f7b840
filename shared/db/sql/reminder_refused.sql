-- A refused batch ends: split (its children have its members already), or failed together with its only member (rule 32).
WITH refused AS (
  UPDATE reminder_batches b SET status = :status, error = :error, finished_at = now()
  WHERE b.id = :id AND b.run_id = :run_id AND b.run_attempt = :run_attempt AND b.status = 'sending' AND b.calls = 1
    AND EXISTS (SELECT FROM job_runs WHERE id = :run_id AND attempt = :run_attempt AND state = 'running')
  RETURNING b.id, b.status
), members AS (
  UPDATE payment_reminders p SET status = 'failed', reason = :error, updated_at = now()
  FROM refused r WHERE p.batch_id = r.id AND r.status = 'failed'
)
SELECT id FROM refused
