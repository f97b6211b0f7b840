-- Refunds to read again, those first that were read longest ago (rule 29): the ones that wait at the provider, and the
-- succeeded ones of the last weeks, once a day.
SELECT id FROM refunds
WHERE status = CAST(:status AS text) AND provider_refund_id IS NOT NULL
  AND (reconciled_at IS NULL OR reconciled_at < now() - CAST(:every AS interval))
  AND (CAST(:status AS text) <> 'succeeded' OR succeeded_at > now() - CAST(:watched AS interval))
ORDER BY reconciled_at NULLS FIRST
LIMIT :most
