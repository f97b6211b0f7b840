-- What is due by the database's clock, a bounded number of each store, stores side by side, so that a flood in one never
-- hides another; and when to look again. Always at least one row: its id is NULL where nothing is due.
-- `counting` are schedules whose many missed fires are still being counted: they must not fill the batch (rule 20).
SELECT head.now, head.next_due, head.next_run_at, head.resets,
  due.store, due.id, due.next_run_time, due.job_state, due.generation, due.misfire_grace_s, due.catch_up, due.overlap
FROM (
  SELECT now() AS now,
    (SELECT s.next_run_time FROM schedules s WHERE s.next_run_time > extract(epoch FROM now())::float8
     ORDER BY s.next_run_time LIMIT 1) AS next_due,
    (SELECT min(r.run_at) FROM unnest(CAST(:queues AS text[])) AS q (name)
     CROSS JOIN LATERAL (SELECT j.run_at FROM job_runs j WHERE j.state = 'pending' AND j.queue = q.name
                         ORDER BY j.run_at LIMIT 1) r) AS next_run_at,
    EXISTS (SELECT FROM schedule_resets) AS resets
) head
LEFT JOIN (
  SELECT d.*
  FROM unnest(CAST(:queues AS text[])) AS q (name)
  CROSS JOIN LATERAL (
    SELECT s.*, row_number() OVER () AS rank
    FROM (
      SELECT * FROM schedules s
      WHERE s.store = q.name AND s.next_run_time <= extract(epoch FROM now())::float8
        AND s.id <> ALL (CAST(:counting AS text[]))
        AND (CAST(:only AS text[]) IS NULL OR s.id = ANY (CAST(:only AS text[])))
      ORDER BY s.next_run_time LIMIT :most
    ) s
  ) d
  ORDER BY d.rank LIMIT :most
) due ON true
