-- What the provider has shown nothing of for too long is a person's to decide.
WITH parked AS (
  UPDATE reminder_batches b SET status = 'needs_review', run_id = NULL, run_attempt = NULL
  WHERE b.id = :id AND b.run_id = :run_id AND b.run_attempt = :run_attempt AND b.status = 'unconfirmed'
    AND EXISTS (SELECT FROM job_runs WHERE id = :run_id AND attempt = :run_attempt AND state = 'running')
  RETURNING b.id
), members AS (
  UPDATE payment_reminders p SET status = 'needs_review', reason = :reason, updated_at = now()
  FROM parked b WHERE p.batch_id = b.id AND p.status = 'unconfirmed'
  RETURNING p.id
)
SELECT count(*) AS parked FROM members
