-- A batch whose members are all resolved is done, whoever resolved them. Its bounces are looked for once more.
UPDATE reminder_batches b SET status = 'sent', finished_at = now(), followed_up_at = NULL, error = NULL
WHERE b.id = ANY (CAST(:ids AS uuid[])) AND b.status IN ('unconfirmed', 'needs_review')
  AND NOT EXISTS (SELECT FROM payment_reminders p
    WHERE p.batch_id = b.id AND p.status IN ('pending', 'sending', 'unconfirmed', 'needs_review'))
RETURNING b.id
