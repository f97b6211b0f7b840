-- The heart: inserts the runs of fires and advances their schedules, or removes those that ended, in one statement.
-- Compare-and-set on (next_run_time, generation); the unique index on fires is the net below (invariant U). A schedule
-- that somebody edits at this moment is left for the next pass. Returned is what was written; `ready` are the runs that may
-- be pushed at once: no pause holds them (rule 23), and none has to wait for another of its schedule (rule 19).
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
  -- LATERAL: one look-up for each, however large the store, whatever the planner knows of it. `coalesce`: by its id, never
  -- by its time, which it may share with ten thousand others.
  SELECT p.*
  FROM (SELECT * FROM plan ORDER BY id) p  -- everybody locks in this order: no deadlock between leaders
  CROSS JOIN LATERAL (
    SELECT FROM schedules s
    WHERE s.store = p.store AND s.id = p.id AND s.generation = p.generation AND coalesce(s.next_run_time, '-infinity') = p.was
    FOR UPDATE OF s SKIP LOCKED
  ) s
), advanced AS (
  UPDATE schedules s SET next_run_time = h.next
  FROM held h
  WHERE s.store = h.store AND s.id = h.id AND h.next IS NOT NULL
), ended AS (
  DELETE FROM schedules s WHERE s.id = ANY (ARRAY(SELECT h.id FROM held h WHERE h.next IS NULL))
), inserted AS (
  INSERT INTO job_runs (job, queue, args, priority, max_attempts, overlap, schedule_id, schedule_generation, due_at,
    coalesced, state, reason, finished_at)
  SELECT h.job, h.queue, CAST(h.args AS jsonb), h.priority, h.max_attempts, h.overlap, h.id, h.generation, r.due_at,
    r.coalesced, CASE WHEN d.skipped IS NULL THEN 'pending' ELSE 'skipped' END, d.skipped,
    CASE WHEN d.skipped IS NOT NULL THEN now() END
  FROM held h JOIN run r ON r.n = h.n
  CROSS JOIN LATERAL (
    SELECT coalesce(r.skipped, CASE WHEN h.overlap = 'skip' AND EXISTS (
      SELECT FROM job_runs o WHERE o.schedule_id = h.id AND o.state IN ('pending', 'queued', 'running')
    ) THEN 'overlap' END) AS skipped
    OFFSET 0  -- asked once
  ) d
  ORDER BY r.n, r.due_at
  ON CONFLICT (schedule_id, schedule_generation, due_at) WHERE due_at IS NOT NULL DO NOTHING
  RETURNING id, schedule_id, state
)
-- In the order of `Written`.
SELECT h.n, h.id, count(i.state) AS runs, count(i.state) FILTER (WHERE i.state = 'skipped') AS skipped,
  array_agg(CAST(i.id AS text)) FILTER (
    WHERE i.state = 'pending' AND h.overlap <> 'queue'
      AND h.queue NOT IN (SELECT p.name FROM pauses p WHERE p.kind = 'queue')
      AND h.job NOT IN (SELECT p.name FROM pauses p WHERE p.kind = 'job')) AS ready
FROM held h LEFT JOIN inserted i ON i.schedule_id = h.id
GROUP BY h.n, h.id
