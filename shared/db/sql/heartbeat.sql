-- Renews the leases of a worker's runs in one statement (rule 11). The answer names what was lost or is to be cancelled.
-- Locked rows are skipped: whoever holds one is about to end the run, and must not be waited for (rule 15).
WITH mine AS (
  SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[])) AS m (id, attempt)
), held AS (
  SELECT r.id FROM job_runs r JOIN mine m ON r.id = m.id
  WHERE r.id = ANY (CAST(:ids AS uuid[])) AND r.state = 'running' AND r.attempt = m.attempt
  ORDER BY r.id
  FOR UPDATE OF r SKIP LOCKED
), renewed AS (
  UPDATE job_runs r SET lease_until = now() + make_interval(secs => :lease_s)
  FROM held h WHERE r.id = h.id AND r.id = ANY (CAST(:ids AS uuid[]))
  RETURNING r.id
)
SELECT m.id, m.attempt, n.id IS NOT NULL AS renewed,
  coalesce(r.state <> 'running' OR r.attempt <> m.attempt, true) AS lost,
  coalesce(r.cancel_requested, false) AS cancel_requested
FROM mine m LEFT JOIN job_runs r ON r.id = m.id AND r.id = ANY (CAST(:ids AS uuid[])) LEFT JOIN renewed n ON n.id = m.id
