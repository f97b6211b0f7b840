-- An unconfirmed batch belongs to nobody until the next look at its events.
UPDATE reminder_batches SET run_id = NULL, run_attempt = NULL
WHERE id = :id AND run_id = :run_id AND run_attempt = :run_attempt AND status = 'unconfirmed'
