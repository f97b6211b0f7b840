-- What is due by the database's clock, a bounded number of each store, stores side by side, so that a flood in one never
-- hides another; and when to look again, whatever far-away or odd time a row holds. Always at least one row: its id is
-- NULL where nothing is due. Whether a lease ran out is asked here because here somebody looks every second anyway.
-- Each store is its own table here, with a branch of its own: looked for by the store's name, one that was small when this was
-- planned would be read whole.
-- `counting` are schedules whose many missed fires are still being counted: they must not fill the batch (rule 20).
-- A schedule's own columns come last, in the order of `DueRow`.
SELECT head.now, head.next_due_s, head.relay_in_s, head.resets, head.leases_lost,
  due.store, due.id, due.next_run_time, due.job_state, due.generation, due.misfire_grace_s, due.catch_up, due.overlap
FROM (
  SELECT now() AS now,
    (SELECT least(s.next_run_time - extract(epoch FROM now())::float8, 3600) FROM schedules s
     WHERE s.next_run_time > extract(epoch FROM now())::float8
     ORDER BY s.next_run_time LIMIT 1) AS next_due_s,
    (SELECT extract(epoch FROM greatest(now(), least(min(r.run_at), now() + interval '1 hour')) - now())::float8
     FROM unnest(CAST(:queues AS text[])) AS q (name)
     CROSS JOIN LATERAL (SELECT j.run_at FROM job_runs j WHERE j.state = 'pending' AND j.queue = q.name
                         ORDER BY j.run_at LIMIT 1) r) AS relay_in_s,
    EXISTS (SELECT FROM job_runs WHERE state = 'running' AND lease_until < now()) AS leases_lost,
    EXISTS (SELECT FROM schedule_resets) AS resets
) head
LEFT JOIN (
  SELECT d.* FROM (
    SELECT *, row_number() OVER () AS rank FROM (
      SELECT * FROM scheduler_refunds_jobs
      WHERE next_run_time <= extract(epoch FROM now())::float8 AND id <> ALL (CAST(:counting AS text[]))
        AND (CAST(:only AS text[]) IS NULL OR id = ANY (CAST(:only AS text[])))
      ORDER BY next_run_time LIMIT :most
    ) s
    UNION ALL
    SELECT *, row_number() OVER () AS rank FROM (
      SELECT * FROM scheduler_payment_reminders_jobs
      WHERE next_run_time <= extract(epoch FROM now())::float8 AND id <> ALL (CAST(:counting AS text[]))
        AND (CAST(:only AS text[]) IS NULL OR id = ANY (CAST(:only AS text[])))
      ORDER BY next_run_time LIMIT :most
    ) s
    UNION ALL
    SELECT *, row_number() OVER () AS rank FROM (
      SELECT * FROM scheduler_maintenance_jobs
      WHERE next_run_time <= extract(epoch FROM now())::float8 AND id <> ALL (CAST(:counting AS text[]))
        AND (CAST(:only AS text[]) IS NULL OR id = ANY (CAST(:only AS text[])))
      ORDER BY next_run_time LIMIT :most
    ) s
  ) d
  ORDER BY d.rank LIMIT :most
) due ON true
