-- What a generation's attempts have done so far, its age on PostgreSQL's clock (rule 27). Attempts that surely had no effect
-- at the provider do not count: their key is as good as new.
SELECT now() - min(started_at) AS first_sent,
  coalesce(bool_or(outcome = ANY (CAST(:key_spent AS text[]))), false) AS key_spent
FROM refund_attempts
WHERE refund_id = CAST(:id AS uuid) AND generation = :generation
  AND (outcome IS NULL OR outcome <> ALL (CAST(:no_effect AS text[])))
