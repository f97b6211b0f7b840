-- Puts back what was queued and cannot be claimed yet.
WITH held AS (
  SELECT r.id FROM job_runs r
  JOIN unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[])) AS m (id, attempt) ON r.id = m.id
  WHERE r.id = ANY (CAST(:ids AS uuid[])) AND r.state IN ('pending', 'queued') AND r.attempt = m.attempt - 1
  ORDER BY r.id
  FOR UPDATE OF r
)
UPDATE job_runs r SET state = 'pending', queued_at = NULL, run_at = now() + make_interval(secs => :delay_s)
FROM held h WHERE r.id = h.id AND r.id = ANY (CAST(:ids AS uuid[]))
