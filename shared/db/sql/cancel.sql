-- Cancels what waits; asks what runs.
UPDATE job_runs
SET state = CASE WHEN state = 'running' THEN state ELSE 'cancelled' END,
    reason = CASE WHEN state = 'running' THEN reason ELSE :reason END,
    finished_at = CASE WHEN state = 'running' THEN NULL ELSE now() END,
    queued_at = CASE WHEN state = 'running' THEN queued_at END,
    cancel_requested = true
WHERE id = CAST(:id AS uuid) AND state IN ('pending', 'queued', 'running')
RETURNING id, state
