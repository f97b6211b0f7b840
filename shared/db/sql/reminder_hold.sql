-- One reminder for a person's decision, with what was frozen of it and what has become of its customer.
SELECT p.status, p.stage, p.batch_id, p.invoice_id, c.email, s.reason AS suppressed,
  CASE WHEN p.invoice_id IS NULL
    THEN EXISTS (SELECT FROM invoices o WHERE o.customer_id = p.customer_id AND o.status = 'open')
    ELSE i.status = 'open' END AS still_owed,
  (SELECT m FROM reminder_batches b, jsonb_array_elements(b.content -> 'members') m
   WHERE b.id = p.batch_id AND m ->> 'id' = CAST(p.id AS text)) AS member
FROM payment_reminders p
LEFT JOIN invoices i ON i.id = p.invoice_id
LEFT JOIN customers c ON c.id = coalesce(p.customer_id, i.customer_id)
LEFT JOIN suppressions s ON s.email = cuebx_address(c.email)
WHERE p.id = :id
FOR UPDATE OF p
