-- The batch row: members, content, tag and key, fixed before any call (rule 31). No row: the run was lost.
INSERT INTO reminder_batches (id, tag, content, parent_id, run_id, run_attempt)
SELECT CAST(:id AS uuid), CAST(:tag AS text), CAST(CAST(:content AS text) AS jsonb), CAST(:parent_id AS uuid),
  CAST(:run_id AS uuid), CAST(:run_attempt AS int)
WHERE EXISTS (SELECT FROM job_runs WHERE id = :run_id AND attempt = :run_attempt AND state = 'running')
RETURNING id, status, tag, idempotency_key, calls
