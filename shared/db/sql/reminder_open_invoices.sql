-- What a customer owes, for a one-off e-mail: one row per open invoice, or one without an invoice, or none for no such customer.
SELECT c.id AS customer_id, c.email, c.name, c.locale, c.time_zone, CAST(c.xmin AS text) AS customer_version,
  i.id AS invoice_id, i.number, i.amount_due, i.currency, i.due_at, CAST(i.id AS text) || ' ' || CAST(i.xmin AS text) AS version
FROM customers c
LEFT JOIN invoices i ON i.customer_id = c.id AND i.status = 'open' AND i.amount_due > 0
WHERE c.id = :customer_id
ORDER BY i.id
