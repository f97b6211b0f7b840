-- One process_refund run for each refund that waits and has none that lives, in bulk (rule 28). The candidates are read
-- without locks, so that `run_id` is what this snapshot saw; the compare-and-set on it is what keeps two sweeps, or a sweep
-- and an enqueue on demand, from giving one refund two runs. Pages by (created_at, id), each row looked at once.
-- Poison is contained: a refund whose runs keep dying goes to a person.
WITH candidate AS MATERIALIZED (
  SELECT f.id, f.run_id, f.created_at, f.dead_runs + CASE WHEN r.state = 'dead' THEN 1 ELSE 0 END AS dead_runs, r.error
  FROM refunds f LEFT JOIN job_runs r ON r.id = f.run_id
  WHERE f.status IN ('pending', 'processing')
    AND (f.created_at, f.id) > (CAST(:after_at AS timestamptz), CAST(:after_id AS uuid))
    AND (r.id IS NULL OR r.state NOT IN ('pending', 'queued', 'running'))
  ORDER BY f.created_at, f.id
  LIMIT :most
), held AS (
  SELECT f.id, c.dead_runs, c.error
  FROM refunds f JOIN candidate c ON c.id = f.id
  WHERE f.run_id IS NOT DISTINCT FROM c.run_id AND f.status IN ('pending', 'processing')
  ORDER BY f.id
  FOR UPDATE OF f SKIP LOCKED
), parked AS (
  UPDATE refunds f
  SET status = 'needs_review', dead_runs = h.dead_runs, updated_at = now(),
      review_reason = h.dead_runs || ' runs of it died, the last one with: ' || coalesce(h.error, 'no error')
  FROM held h WHERE h.id = f.id AND h.dead_runs >= CAST(:max_dead AS int)
  RETURNING f.id, f.created_at
), named AS (
  UPDATE refunds f
  SET run_id = cuebx_uuid7(), run_attempt = NULL, dead_runs = h.dead_runs, updated_at = now()
  FROM held h WHERE h.id = f.id AND h.dead_runs < CAST(:max_dead AS int)
  RETURNING f.id, f.run_id
), inserted AS (
  INSERT INTO job_runs (id, job, queue, args, priority, max_attempts)
  SELECT run_id, CAST(:job AS text), CAST(:queue AS text), jsonb_build_object('refund_id', id), CAST(:priority AS int), CAST(:max_attempts AS int) FROM named
  RETURNING id
)
SELECT c.id, c.created_at, n.run_id, p.id IS NOT NULL AS parked, i.id IS NOT NULL AS enqueued
FROM candidate c
LEFT JOIN named n ON n.id = c.id
LEFT JOIN inserted i ON i.id = n.run_id
LEFT JOIN parked p ON p.id = c.id
ORDER BY c.created_at, c.id
