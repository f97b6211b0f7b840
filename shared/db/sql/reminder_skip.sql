-- What is owed at :as_of and will not be sent becomes a row that says why (rule 30): owed for longer than the tolerance, or
-- not the latest of several stages.
WITH stage AS (
  SELECT name, make_interval(hours => 24 * days) AS after,
    make_interval(hours => 24 * lead(days) OVER (ORDER BY days)) AS next_after
  FROM unnest(CAST(:names AS text[]), CAST(:days AS int[])) AS s (name, days)
)
INSERT INTO payment_reminders (invoice_id, customer_id, stage, status, reason, email, run_id, run_attempt)
SELECT i.id, i.customer_id, s.name, 'skipped',
  CASE WHEN i.due_at >= CAST(:as_of AS timestamptz) - s.after - CAST(:tolerance AS interval)
    THEN 'superseded by a later stage' ELSE 'too late' END,
  c.email, :run_id, :run_attempt
FROM stage s
JOIN invoices i ON i.status = 'open' AND i.due_at <= CAST(:as_of AS timestamptz) - s.after
  AND (i.due_at < CAST(:as_of AS timestamptz) - s.after - CAST(:tolerance AS interval)
       OR i.due_at <= CAST(:as_of AS timestamptz) - s.next_after)
JOIN customers c ON c.id = i.customer_id
WHERE i.amount_due > 0
  AND i.due_at + s.after >= i.created_at
  AND NOT EXISTS (SELECT FROM payment_reminders r WHERE r.invoice_id = i.id AND r.stage = s.name)
  AND EXISTS (SELECT FROM job_runs WHERE id = :run_id AND attempt = :run_attempt AND state = 'running')
ORDER BY i.id, s.name  -- as in reminder_insert: no deadlock between two runs
LIMIT :most
ON CONFLICT DO NOTHING
RETURNING id
