-- What is owed at :as_of, has no reminder row and may still be sent (rule 30), from (:after_at, :after_id) on. A stage is the
-- invoice's latest while the next one is not owed yet, so each stage is one range of the index on due dates, read in its
-- order and no further than :most.
WITH stage AS (
  SELECT name, make_interval(hours => 24 * days) AS after,
    make_interval(hours => 24 * lead(days) OVER (ORDER BY days)) AS next_after
  FROM unnest(CAST(:names AS text[]), CAST(:days AS int[])) AS s (name, days)
)
SELECT owed.*
FROM stage s CROSS JOIN LATERAL (
  SELECT i.id AS invoice_id, i.customer_id, s.name AS stage, i.number, i.amount_due, i.currency, i.due_at,
    c.email, c.name, c.locale, c.time_zone,
    CAST(i.xmin AS text) || ' ' || CAST(c.xmin AS text) AS version  -- changes with either row
  FROM invoices i
  JOIN customers c ON c.id = i.customer_id
  WHERE i.status = 'open'
    AND (i.due_at, i.id) > (CAST(:after_at AS timestamptz), CAST(:after_id AS uuid))
    AND i.due_at <= CAST(:as_of AS timestamptz) - s.after
    AND i.due_at >= CAST(:as_of AS timestamptz) - s.after - CAST(:tolerance AS interval)
    AND (s.next_after IS NULL OR i.due_at > CAST(:as_of AS timestamptz) - s.next_after)
    AND i.amount_due > 0
    AND i.due_at + s.after >= i.created_at  -- a stage before the invoice existed is not owed
    AND NOT EXISTS (SELECT FROM payment_reminders r WHERE r.invoice_id = i.id AND r.stage = s.name)
  ORDER BY i.due_at, i.id
  LIMIT :most
) owed
ORDER BY owed.due_at, owed.invoice_id
LIMIT :most
