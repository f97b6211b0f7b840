SELECT p.id, p.status, p.stage, p.reason, p.email, p.invoice_id, p.customer_id, p.message_id, b.tag, b.calls,
  b.first_call_at, p.updated_at
FROM payment_reminders p LEFT JOIN reminder_batches b ON b.id = p.batch_id
WHERE p.status = ANY (CAST(:statuses AS text[]))
ORDER BY p.created_at DESC, p.id DESC
LIMIT :most
