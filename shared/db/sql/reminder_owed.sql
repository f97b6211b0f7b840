-- What is owed of one stage, has no reminder row and may still be sent (rule 30): a range of the index on due dates, read in
-- its order, behind (:after_at, :after_id) and up to (:end_at, :end_id). The stage is the invoice's latest while the next one
-- is not owed yet, which it is up to :next_since. OFFSET 0: customer and reminder are looked up one by one. Joined as sets,
-- which old statistics are reason enough for, all there are would be read for each page.
SELECT i.id AS invoice_id, i.customer_id, CAST(:stage AS text) AS stage, i.number, i.amount_due, i.currency, i.due_at,
  c.email, c.name, c.locale, c.time_zone,
  CAST(i.xmin AS text) || ' ' || CAST(c.xmin AS text) AS version  -- changes with either row
FROM invoices i
CROSS JOIN LATERAL (
  SELECT c.email, c.name, c.locale, c.time_zone, c.xmin FROM customers c WHERE c.id = i.customer_id OFFSET 0
) c
WHERE i.status = 'open'
  AND i.due_at BETWEEN CAST(:since AS timestamptz) AND CAST(:until AS timestamptz)
  AND i.due_at > CAST(:next_since AS timestamptz)
  AND (i.due_at, i.id) > (CAST(:after_at AS timestamptz), CAST(:after_id AS uuid))
  AND (i.due_at, i.id) <= (CAST(:end_at AS timestamptz), CAST(:end_id AS uuid))
  AND i.amount_due > 0
  AND i.due_at + CAST(:after AS interval) >= i.created_at  -- a stage before the invoice existed is not owed
  AND NOT EXISTS (
    SELECT FROM payment_reminders r WHERE r.invoice_id = i.id AND r.stage = CAST(:stage AS text) OFFSET 0
  )
ORDER BY i.due_at, i.id
LIMIT :most
