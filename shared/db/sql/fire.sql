-- The heart: inserts the runs of fires and advances their schedules, or removes those that ended, in one statement.
-- Compare-and-set on (next_run_time, generation); the unique index on fires is the net below (invariant U). A schedule
-- that somebody edits at this moment is left for the next pass. Returned is what was written.
WITH plan AS (
  SELECT * FROM unnest(
    CAST(:stores AS text[]), CAST(:ids AS text[]), CAST(:generations AS bigint[]), CAST(:was AS float8[]),
    CAST(:next AS float8[]), CAST(:jobs AS text[]), CAST(:queues AS text[]), CAST(:args AS text[]),
    CAST(:priorities AS int[]), CAST(:max_attempts AS int[]), CAST(:overlaps AS text[])
  ) WITH ORDINALITY AS p (store, id, generation, was, next, job, queue, args, priority, max_attempts, overlap, n)
), run AS (
  SELECT * FROM unnest(
    CAST(:ns AS int[]), CAST(:due_ats AS timestamptz[]), CAST(:coalesced AS bigint[]), CAST(:skipped AS text[])
  ) AS r (n, due_at, coalesced, skipped)
), held AS (
  SELECT p.n, s.store, s.id
  FROM plan p JOIN schedules s ON s.store = p.store AND s.id = p.id
  WHERE s.generation = p.generation AND s.next_run_time = p.was
  ORDER BY s.id                            -- everybody locks in this order: no deadlock between leaders
  FOR UPDATE OF s SKIP LOCKED
), advanced AS (
  UPDATE schedules s SET next_run_time = p.next
  FROM held h JOIN plan p ON p.n = h.n
  WHERE s.store = h.store AND s.id = h.id AND p.next IS NOT NULL
), ended AS (
  DELETE FROM schedules s USING held h JOIN plan p ON p.n = h.n
  WHERE s.store = h.store AND s.id = h.id AND p.next IS NULL
), inserted AS (
  INSERT INTO job_runs (job, queue, args, priority, max_attempts, overlap, schedule_id, schedule_generation, due_at,
    coalesced, state, reason, finished_at)
  SELECT p.job, p.queue, CAST(p.args AS jsonb), p.priority, p.max_attempts, p.overlap, p.id, p.generation, r.due_at,
    r.coalesced, CASE WHEN d.skipped IS NULL THEN 'pending' ELSE 'skipped' END, d.skipped,
    CASE WHEN d.skipped IS NOT NULL THEN now() END
  FROM held h JOIN plan p ON p.n = h.n JOIN run r ON r.n = h.n
  CROSS JOIN LATERAL (
    SELECT coalesce(r.skipped, CASE WHEN p.overlap = 'skip' AND EXISTS (
      SELECT FROM job_runs o WHERE o.schedule_id = p.id AND o.state IN ('pending', 'queued', 'running')
    ) THEN 'overlap' END) AS skipped
  ) d
  ORDER BY r.n, r.due_at
  ON CONFLICT (schedule_id, schedule_generation, due_at) WHERE due_at IS NOT NULL DO NOTHING
  RETURNING schedule_id, state
)
SELECT h.n, h.id, count(i.state) AS runs, count(i.state) FILTER (WHERE i.state = 'skipped') AS skipped
FROM held h LEFT JOIN inserted i ON i.schedule_id = h.id
GROUP BY h.n, h.id
