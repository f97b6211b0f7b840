-- Many new schedules of an operator's, each with its audit record. An id that exists fails the statement as a whole.
WITH asked AS (
  SELECT * FROM unnest(
    CAST(:ids AS text[]), CAST(:stores AS text[]), CAST(:states AS text[]), CAST(:graces AS float8[]),
    CAST(:catch_ups AS bool[]), CAST(:overlaps AS text[]), CAST(:firsts AS float8[]), CAST(:specs AS text[])
  ) AS a (id, store, state, misfire_grace_s, catch_up, overlap, first, spec)
), added AS (
  INSERT INTO schedules (id, store, job_state, misfire_grace_s, catch_up, overlap, next_run_time)
  SELECT id, store, CAST(state AS jsonb), misfire_grace_s, catch_up, overlap, first FROM asked
)
INSERT INTO audit_log (actor, action, subject_kind, subject_id, detail)
SELECT :actor, 'added', 'schedule', id, CAST(spec AS jsonb) FROM asked
