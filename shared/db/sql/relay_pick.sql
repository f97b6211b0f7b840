-- Due runs, a bounded number of each queue, so that a flood in one never hides another. Paused ones wait where they are
-- (rule 23), at little cost however many; of a schedule whose fires queue up only the head is released (rule 19), and
-- heads are looked up once, not for each of the runs behind them.
WITH head AS (
  SELECT DISTINCT ON (schedule_id) id, state
  FROM job_runs
  WHERE overlap = 'queue' AND due_at IS NOT NULL AND state IN ('pending', 'queued', 'running')
  ORDER BY schedule_id, state = 'pending', schedule_generation, due_at  -- what is under way goes before what waits
)
SELECT r.id, r.attempt + 1 AS attempt, r.queue, r.priority
FROM unnest(CAST(:queues AS text[])) AS q (name)
CROSS JOIN LATERAL (
  SELECT j.id, j.attempt, j.queue, j.priority
  FROM job_runs j
  WHERE j.state = 'pending' AND j.queue = q.name AND j.run_at <= now()
    AND j.job NOT IN (SELECT p.name FROM pauses p WHERE p.kind = 'job')
    AND (j.schedule_id IS NULL OR j.schedule_id NOT IN (SELECT p.name FROM pauses p WHERE p.kind = 'schedule'))
    AND (j.overlap <> 'queue' OR j.due_at IS NULL OR j.id IN (SELECT h.id FROM head h WHERE h.state = 'pending'))
  ORDER BY j.run_at
  LIMIT :per_queue
) r
WHERE q.name NOT IN (SELECT p.name FROM pauses p WHERE p.kind = 'queue')
