-- A person's replay of a dead run: the fence stays (rule 4), the run gets a fresh set of attempts.
UPDATE job_runs
SET state = 'pending', run_at = now(), max_attempts = attempt + :more, losses = 0, cancel_requested = false, finished_at = NULL
WHERE id = CAST(:id AS uuid) AND state = 'dead'
RETURNING id, attempt + 1 AS attempt, queue, priority
