-- Counts the loss beside the outcome that finish.sql records in the same transaction.
UPDATE job_runs SET losses = losses + 1 WHERE id = ANY (CAST(:ids AS uuid[]))
