-- What calls have made of refunds, and of the attempts that called: compare-and-set as in refund_settle.sql. The runs are held,
-- so that they can be finished in the same transaction (rule 6). What is not returned is looked at by itself.
-- (`status || ''`: see refund_take_many.sql.)
WITH asked AS (
  SELECT * FROM unnest(
    CAST(:ids AS uuid[]), CAST(:generations AS int[]), CAST(:run_ids AS uuid[]), CAST(:attempts AS int[]),
    CAST(:attempt_ids AS uuid[]), CAST(:ever_succeeded AS bool[]), CAST(:provider_refund_ids AS text[]),
    CAST(:statuses AS text[]), CAST(:failure_reasons AS text[]), CAST(:review_reasons AS text[])
  ) AS a (
    id, generation, run_id, attempt, attempt_id, ever_succeeded, provider_refund_id, status, failure_reason, review_reason
  )
), held AS (
  SELECT a.*
  FROM asked a
  JOIN refunds f ON f.id = a.id
  JOIN job_runs r ON r.id = a.run_id
  WHERE f.status || '' = 'processing' AND (f.succeeded_at IS NOT NULL) = a.ever_succeeded
    AND (f.generation, f.run_id, f.run_attempt) = (a.generation, a.run_id, a.attempt)
    AND r.lease_until IS NOT NULL AND r.attempt = a.attempt
  FOR UPDATE OF f, r SKIP LOCKED
), noted AS (
  UPDATE refund_attempts t
  SET outcome = h.status, provider_refund_id = h.provider_refund_id, finished_at = now()
  FROM held h WHERE t.id = h.attempt_id AND t.finished_at IS NULL
)
UPDATE refunds f
SET status = h.status,
    provider_refund_id = h.provider_refund_id,
    failure_reason = h.failure_reason,
    review_reason = h.review_reason,
    submitted_at = coalesce(f.submitted_at, now()),
    succeeded_at = CASE WHEN h.status = 'succeeded' THEN now() ELSE f.succeeded_at END,
    reconciled_at = now(),
    updated_at = now()
FROM held h WHERE f.id = h.id
RETURNING f.id, f.run_id, f.run_attempt
