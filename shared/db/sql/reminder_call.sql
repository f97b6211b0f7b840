-- Notes a call before it is made. No row: another attempt owns the batch or the run, or an event has told of an earlier call,
-- or the key is too old to be used again.
WITH called AS (
  UPDATE reminder_batches b
  SET status = 'sending', calls = b.calls + 1, first_call_at = coalesce(b.first_call_at, now()), last_call_at = now()
  WHERE b.id = :id AND b.run_id = :run_id AND b.run_attempt = :run_attempt AND b.status IN ('pending', 'sending')
    AND (b.first_call_at IS NULL OR b.first_call_at > now() - CAST(:repeat_within AS interval))
    AND (b.calls = 0 OR NOT EXISTS (
      SELECT FROM payment_reminders p WHERE p.batch_id = b.id AND p.status NOT IN ('pending', 'sending')))
    AND EXISTS (SELECT FROM job_runs WHERE id = :run_id AND attempt = :run_attempt AND state = 'running')
  RETURNING b.id, b.calls
), members AS (
  UPDATE payment_reminders p SET status = 'sending', updated_at = now()
  FROM called c WHERE p.batch_id = c.id AND p.status = 'pending'
)
SELECT calls FROM called
