-- Runs whose lease ran out. Locked rows are skipped: their worker is writing (rule 15).
SELECT id, job, attempt, max_attempts, losses + 1 AS losses
FROM job_runs
WHERE state = 'running' AND lease_until < now()
ORDER BY id
LIMIT :most
FOR UPDATE SKIP LOCKED
