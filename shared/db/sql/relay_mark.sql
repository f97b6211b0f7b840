-- After the push: a late mark never drags a running run back (rule 5), nor one into `queued` whose message a worker has
-- dropped meanwhile because it was put off or paused.
WITH message AS (
  SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:attempts AS int[])) AS m (id, attempt)
), held AS (
  SELECT r.id FROM job_runs r JOIN message m ON r.id = m.id
  WHERE r.id = ANY (CAST(:ids AS uuid[])) AND r.state = 'pending' AND r.attempt = m.attempt - 1
    AND r.run_at <= now() AND NOT EXISTS (
      SELECT FROM pauses p
      WHERE (p.kind = 'queue' AND p.name = r.queue)
         OR (p.kind = 'job' AND p.name = r.job)
         OR (p.kind = 'schedule' AND p.name = r.schedule_id))
  ORDER BY r.id
  FOR UPDATE OF r SKIP LOCKED
)
UPDATE job_runs r SET state = 'queued', queued_at = now()
WHERE r.id = ANY (ARRAY(SELECT h.id FROM held h))  -- one pass through the primary key, whatever the planner expects of `held`
RETURNING r.id
