-- Takes runs under a lease, all in one statement (rule 5). What it refuses (stale, terminal, already running) is not
-- returned, and its message is dropped. What a pause holds goes back to pending, unclaimed (rule 23).
-- Each row is looked up once, and the pauses only where there are any: a lock first, in a step of its own, costs a fifth more.
WITH message AS (
  SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[])) AS m (id, attempt)
  ORDER BY id  -- everybody locks in this order: no deadlock between batches
), held AS (
  -- Pending ones too: this statement's snapshot may be older than the mark that queued them.
  UPDATE job_runs r SET state = 'pending', queued_at = NULL
  FROM message m
  WHERE EXISTS (SELECT FROM pauses)
    AND r.id = m.id AND r.state IN ('pending', 'queued') AND r.attempt = m.attempt - 1 AND r.run_at <= now()
    AND EXISTS (
      SELECT FROM pauses p
      WHERE (p.kind = 'queue' AND p.name = r.queue)
         OR (p.kind = 'job' AND p.name = r.job)
         OR (p.kind = 'schedule' AND p.name = r.schedule_id))
)
UPDATE job_runs r
SET state = 'running', attempt = r.attempt + 1, worker = :worker, started_at = now(), queued_at = NULL,
    lease_until = now() + make_interval(secs => :lease_s)
FROM message m
WHERE r.id = m.id AND r.state IN ('pending', 'queued') AND r.attempt = m.attempt - 1 AND r.run_at <= now()
  AND (NOT EXISTS (SELECT FROM pauses) OR NOT EXISTS (
      SELECT FROM pauses p
      WHERE (p.kind = 'queue' AND p.name = r.queue)
         OR (p.kind = 'job' AND p.name = r.job)
         OR (p.kind = 'schedule' AND p.name = r.schedule_id)))
RETURNING r.id, r.job, r.queue, r.args, r.attempt, r.max_attempts, r.losses, r.cancel_requested, r.schedule_id, r.due_at, r.overlap,
  r.enqueued_at, r.started_at
