-- The refund is being paid by this attempt of this run (rule 7). The index refunds_one_at_a_time refuses a second one of
-- the same payment intent (rule 26).
UPDATE refunds
SET status = 'processing', updated_at = now()
WHERE id = CAST(:id AS uuid) AND generation = :generation AND status IN ('pending', 'processing')
  AND run_id = CAST(:run_id AS uuid) AND run_attempt = :attempt
RETURNING id
