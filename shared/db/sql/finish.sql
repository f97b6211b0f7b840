-- Records decisions: compare-and-set on state and attempt (rule 6). A row that is not returned was lost by its worker.
-- `lease_until IS NOT NULL` is `state = 'running'`: written like that, the planner would rather read the index of running
-- runs, with all that have ended since its last vacuum, than look these up by their ids.
-- A row without a state is a success with nothing to tell: the lists are as short as what there is to tell.
WITH decided AS (
  SELECT id, attempt, coalesce(state, 'succeeded') AS state, delay_s, run_at, free, error,
    CASE WHEN state IS NULL THEN '{}' ELSE result END AS result
  FROM unnest(
    CAST(:ids AS uuid[]), CAST(:attempts AS int[]), CAST(:states AS text[]), CAST(:delays AS float8[]),
    CAST(:run_ats AS timestamptz[]), CAST(:free AS bool[]), CAST(:errors AS text[]), CAST(:results AS text[])
  ) AS d (id, attempt, state, delay_s, run_at, free, error, result)
  ORDER BY id  -- as in claim.sql
)
UPDATE job_runs r
SET state = d.state,
    run_at = CASE WHEN d.state = 'pending'
      THEN coalesce(d.run_at, now() + make_interval(secs => d.delay_s)) ELSE r.run_at END,
    max_attempts = r.max_attempts + CASE WHEN d.free THEN 1 ELSE 0 END,  -- the fence is never lowered (rule 4)
    lease_until = NULL, worker = NULL, queued_at = NULL,
    -- A run that went back keeps its last error where the decision has none; one that ended well has none.
    error = CASE WHEN d.state = 'pending' THEN coalesce(d.error, r.error) WHEN d.state = 'cancelled' THEN NULL ELSE d.error END,
    reason = CASE WHEN d.state = 'cancelled' THEN d.error ELSE r.reason END,
    result = CAST(d.result AS jsonb),
    finished_at = CASE WHEN d.state = 'pending' THEN NULL ELSE now() END
FROM decided d
WHERE r.id = d.id AND r.lease_until IS NOT NULL AND r.attempt = d.attempt
RETURNING r.id
