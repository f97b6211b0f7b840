-- One sent batch whose events are to be read once more: a webhook may have been lost.
UPDATE reminder_batches b SET followed_up_at = now()
WHERE b.id = (
    SELECT id FROM reminder_batches
    WHERE status = 'sent' AND followed_up_at IS NULL AND finished_at < now() - CAST(:after AS interval)
    ORDER BY finished_at LIMIT 1 FOR UPDATE SKIP LOCKED)
  AND EXISTS (SELECT FROM job_runs WHERE id = :run_id AND attempt = :run_attempt AND state = 'running')
RETURNING b.id, b.tag
