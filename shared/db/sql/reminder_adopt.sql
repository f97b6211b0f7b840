-- Takes over one open batch: of an earlier attempt of this run, of a run that has ended or is gone, or of nobody (released).
-- A batch of a live run is that run's own. Events of an unconfirmed one that were read since this run was due are not read
-- again: the provider allows few readings, and many runs may ask for one.
UPDATE reminder_batches b SET run_id = :run_id, run_attempt = :run_attempt
WHERE b.id = (
    SELECT o.id FROM reminder_batches o
    WHERE o.status = ANY (CAST(:statuses AS text[]))
      AND (NOT CAST(:only_own AS bool) OR o.run_id = :run_id)
      AND (o.run_id, o.run_attempt) IS DISTINCT FROM (CAST(:run_id AS uuid), CAST(:run_attempt AS int))
      AND o.id <> ALL (CAST(:seen AS uuid[]))
      AND (o.status <> 'unconfirmed' OR o.followed_up_at IS NULL
        OR o.followed_up_at < (SELECT m.run_at FROM job_runs m WHERE m.id = :run_id)
        OR o.followed_up_at > now())  -- the clock went back, and tells nothing of readings any more
      AND (o.run_id IS NULL OR o.run_id = :run_id OR NOT EXISTS (
        SELECT FROM job_runs r WHERE r.id = o.run_id AND r.state IN ('pending', 'queued', 'running')))
    ORDER BY o.created_at, o.id
    LIMIT 1
    FOR UPDATE SKIP LOCKED)
  AND EXISTS (SELECT FROM job_runs WHERE id = :run_id AND attempt = :run_attempt AND state = 'running')
RETURNING b.id, b.status, b.tag, b.idempotency_key, b.calls, b.content,
  now() - b.first_call_at AS age, now() - b.last_call_at AS since_last_call,
  EXISTS (SELECT FROM payment_reminders p WHERE p.batch_id = b.id AND p.status NOT IN ('pending', 'sending')) AS accepted
