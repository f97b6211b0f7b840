-- Due runs, a bounded number of each queue, so that a flood in one never hides another. Paused ones wait where they are
-- (rule 23); of a schedule whose fires queue up only the head is released (rule 19).
SELECT r.id, r.attempt + 1 AS attempt, r.queue, r.priority
FROM unnest(CAST(:queues AS text[])) AS q (name)
CROSS JOIN LATERAL (
  SELECT j.id, j.attempt, j.queue, j.priority
  FROM job_runs j
  WHERE j.state = 'pending' AND j.queue = q.name AND j.run_at <= now()
    AND NOT EXISTS (
      SELECT FROM pauses p
      WHERE (p.kind = 'queue' AND p.name = j.queue)
         OR (p.kind = 'job' AND p.name = j.job)
         OR (p.kind = 'schedule' AND p.name = j.schedule_id))
    AND (j.overlap <> 'queue' OR j.due_at IS NULL OR NOT EXISTS (
      SELECT FROM job_runs o
      WHERE o.schedule_id = j.schedule_id AND o.overlap = 'queue' AND o.state IN ('pending', 'queued', 'running')
        AND o.id <> j.id
        AND (o.state <> 'pending' OR (o.schedule_generation, o.due_at) < (j.schedule_generation, j.due_at))))
  ORDER BY j.run_at
  LIMIT :per_queue
) r
