-- What a refund becomes: compare-and-set on its status and generation and, where a run works on it, on that run's attempt
-- (rule 7). `succeeded_at` is kept: one that succeeded and then fails is for a person, and one that succeeded
-- again is watched from then on (rule 29).
UPDATE refunds
SET status = CAST(:status AS text),
    provider_refund_id = coalesce(CAST(:provider_refund_id AS text), provider_refund_id),
    failure_reason = CAST(:failure_reason AS text),
    review_reason = CAST(:review_reason AS text),
    submitted_at = CASE WHEN CAST(:provider_refund_id AS text) IS NULL THEN submitted_at ELSE coalesce(submitted_at, now()) END,
    succeeded_at = CASE WHEN CAST(:status AS text) = 'succeeded' THEN now() ELSE succeeded_at END,
    reconciled_at = CASE WHEN CAST(:told AS bool) THEN now() ELSE reconciled_at END,
    updated_at = now()
WHERE id = CAST(:id AS uuid) AND generation = :generation AND status = :expected
  AND run_id IS NOT DISTINCT FROM CAST(:run_id AS uuid) AND run_attempt IS NOT DISTINCT FROM CAST(:attempt AS int)
RETURNING id
