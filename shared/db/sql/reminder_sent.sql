-- The provider's answer for a whole batch. No row: the batch was lost to another attempt, which will find out by itself.
-- An event that came before the answer stays.
WITH sent AS (
  UPDATE reminder_batches b SET status = 'sent', finished_at = now(), error = NULL
  WHERE b.id = :id AND b.run_id = :run_id AND b.run_attempt = :run_attempt AND b.status = 'sending'
    AND EXISTS (SELECT FROM job_runs WHERE id = :run_id AND attempt = :run_attempt AND state = 'running')
  RETURNING b.id
), members AS (
  UPDATE payment_reminders p
  SET message_id = m.message_id, updated_at = now(), sent_at = coalesce(p.sent_at, now()),
    status = CASE WHEN p.status IN ('pending', 'sending') THEN 'sent' ELSE p.status END
  FROM sent s, unnest(CAST(:members AS uuid[]), CAST(:message_ids AS text[])) AS m (id, message_id)
  WHERE p.id = m.id AND p.batch_id = s.id
)
SELECT id FROM sent
