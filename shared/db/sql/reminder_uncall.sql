-- A call that certainly sent nothing (no connection, 401, 402, 403, 429) does not count.
WITH refused AS (
  UPDATE reminder_batches b
  SET calls = b.calls - 1, error = :error,
    status = CASE WHEN b.calls = 1 THEN 'pending' ELSE b.status END,
    first_call_at = CASE WHEN b.calls = 1 THEN NULL ELSE b.first_call_at END
  WHERE b.id = :id AND b.run_id = :run_id AND b.run_attempt = :run_attempt AND b.status = 'sending'
    AND EXISTS (SELECT FROM job_runs WHERE id = :run_id AND attempt = :run_attempt AND state = 'running')
  RETURNING b.id, b.status
), members AS (
  UPDATE payment_reminders p SET status = 'pending', updated_at = now()
  FROM refused r WHERE p.batch_id = r.id AND r.status = 'pending' AND p.status = 'sending'
)
SELECT id FROM refused
