-- Locks a run that is still this attempt's (rules 6 and 7): until the transaction ends, nobody can take it away.
-- No row: the worker lost the run.
SELECT r.cancel_requested
FROM job_runs r
WHERE r.id = CAST(:run_id AS uuid) AND r.state = 'running' AND r.attempt = :attempt
FOR UPDATE
