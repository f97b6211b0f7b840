-- No call any more: the batch's events decide (rule 33).
WITH unclear AS (
  UPDATE reminder_batches b SET status = 'unconfirmed', error = :error
  WHERE b.id = :id AND b.run_id = :run_id AND b.run_attempt = :run_attempt AND b.status = 'sending'
    AND EXISTS (SELECT FROM job_runs WHERE id = :run_id AND attempt = :run_attempt AND state = 'running')
  RETURNING b.id
), members AS (
  UPDATE payment_reminders p SET status = 'unconfirmed', updated_at = now()
  FROM unclear u WHERE p.batch_id = u.id AND p.status IN ('pending', 'sending')
)
SELECT id FROM unclear
