-- New runs of one job, in the order given. A key that exists inserts nothing (rule 36): the caller reads the run it names.
-- `due` says whether the run may be pushed at once.
WITH input AS MATERIALIZED (
  SELECT cuebx_uuid7() AS id, i.args, i.key, coalesce(i.run_at, now()) AS run_at, i.ord
  FROM unnest(CAST(:args AS text[]), CAST(:keys AS text[]), CAST(:run_ats AS timestamptz[]))
    WITH ORDINALITY AS i (args, key, run_at, ord)
), inserted AS (
  INSERT INTO job_runs (id, job, queue, args, priority, key, run_at, max_attempts, schedule_id)
  SELECT id, :job, :queue, CAST(args AS jsonb), :priority, key, run_at, :max_attempts, :schedule_id FROM input
  ORDER BY key, ord  -- everybody waits for keys in this order: no deadlock between bulks
  ON CONFLICT (job, key) WHERE key IS NOT NULL DO NOTHING
  RETURNING id
)
SELECT i.ord, n.id, i.key, i.run_at <= now() AS due
FROM input i LEFT JOIN inserted n ON n.id = i.id
ORDER BY i.ord
