-- Members of a batch that was refused, into a part of it.
UPDATE payment_reminders SET batch_id = :batch_id, status = 'pending', updated_at = now()
WHERE id = ANY (CAST(:members AS uuid[])) AND batch_id = :parent_id
RETURNING id
