-- Refunds that are taken by the attempts of their runs (rule 7), with what is on record of each. Only those that are plainly
-- theirs: whatever else there is to it, a lock of somebody else's too, the refund is looked at by itself. What earlier attempts
-- have done is committed: each held its run's row while it wrote, and this attempt has been claimed since.
-- `status || ''`: written plainly, the planner would rather read the whole index of waiting refunds than look these up by id.
WITH asked AS (
  SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:run_ids AS uuid[]), CAST(:attempts AS int[])) AS a (id, run_id, attempt)
), held AS (
  SELECT f.id, a.attempt
  FROM asked a
  JOIN refunds f ON f.id = a.id
  JOIN job_runs r ON r.id = a.run_id
  WHERE f.status || '' IN ('pending', 'processing') AND f.run_id = a.run_id
    AND r.lease_until IS NOT NULL AND r.attempt = a.attempt AND NOT r.cancel_requested
  FOR UPDATE OF f, r SKIP LOCKED
), taken AS (
  UPDATE refunds f SET run_attempt = h.attempt, updated_at = now()
  FROM held h WHERE f.id = h.id
  RETURNING f.id, f.payment_intent_id, f.amount, f.currency, f.status, f.reason, f.generation, f.succeeded_at, f.run_id, f.run_attempt
)
SELECT t.*, s.first_sent, s.key_spent, EXISTS (
    SELECT FROM refunds o WHERE o.payment_intent_id = t.payment_intent_id AND o.status = 'processing' AND o.id <> t.id
  ) AS busy
FROM taken t CROSS JOIN LATERAL (
  SELECT now() - min(a.started_at) AS first_sent,
    coalesce(bool_or(a.outcome = ANY (CAST(:key_spent AS text[]))), false) AS key_spent
  FROM refund_attempts a
  WHERE a.refund_id = t.id AND a.generation = t.generation
    AND (a.outcome IS NULL OR a.outcome <> ALL (CAST(:no_effect AS text[])))
) s
