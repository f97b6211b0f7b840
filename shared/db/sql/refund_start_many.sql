-- Attempts on record, each with its key, and their refunds `processing`: commit before the calls. Only what is as it was when it
-- was checked: not edited, not cancelled, young enough for its key (rule 27), and no other refund of its payment being paid, in
-- this batch neither (rule 26; the index refunds_one_at_a_time is the net below). Any other one is looked at by itself. (`status || ''`: see refund_take_many.sql.)
WITH asked AS (
  SELECT * FROM unnest(
    CAST(:ids AS uuid[]), CAST(:generations AS int[]), CAST(:run_ids AS uuid[]), CAST(:attempts AS int[]), CAST(:keys AS text[]),
    CAST(:payment_intents AS text[]), CAST(:amounts AS bigint[]), CAST(:currencies AS text[])
  ) AS a (id, generation, run_id, attempt, key, payment_intent_id, amount, currency)
), held AS (
  SELECT a.*
  FROM asked a
  JOIN refunds f ON f.id = a.id
  JOIN job_runs r ON r.id = a.run_id
  WHERE f.status || '' IN ('pending', 'processing')
    AND (f.generation, f.run_id, f.run_attempt) = (a.generation, a.run_id, a.attempt)
    AND (f.payment_intent_id, f.amount, lower(f.currency)) = (a.payment_intent_id, a.amount, a.currency)
    AND r.lease_until IS NOT NULL AND r.attempt = a.attempt AND NOT r.cancel_requested
    AND NOT EXISTS (
      SELECT FROM refund_attempts t
      WHERE t.refund_id = f.id AND t.generation = f.generation AND t.started_at <= now() - CAST(:resend_within AS interval)
        AND (t.outcome IS NULL OR t.outcome <> ALL (CAST(:no_effect AS text[])))
    )
    AND NOT EXISTS (
      SELECT FROM refunds o WHERE o.payment_intent_id = f.payment_intent_id AND o.status = 'processing' AND o.id <> f.id
    )
  FOR UPDATE OF f, r SKIP LOCKED
), first AS (
  SELECT DISTINCT ON (payment_intent_id) * FROM held ORDER BY payment_intent_id, id
), started AS (
  UPDATE refunds f SET status = 'processing', updated_at = now()
  FROM first h WHERE f.id = h.id
  RETURNING f.id, f.run_id, f.run_attempt, f.reason, f.succeeded_at
), recorded AS (
  INSERT INTO refund_attempts (refund_id, generation, idempotency_key, run_id, run_attempt)
  SELECT h.id, h.generation, h.key, h.run_id, h.attempt FROM first h JOIN started s ON s.id = h.id
  RETURNING id, refund_id
)
SELECT s.*, r.id AS attempt_id FROM started s JOIN recorded r ON r.refund_id = s.id
