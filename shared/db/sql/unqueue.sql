-- Puts back what was queued and cannot be claimed yet.
UPDATE job_runs r SET state = 'pending', queued_at = NULL, run_at = now() + make_interval(secs => :delay_s)
FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[])) AS m (id, attempt)
WHERE r.id = m.id AND r.id = ANY (CAST(:ids AS uuid[])) AND r.state IN ('pending', 'queued') AND r.attempt = m.attempt - 1
