-- An unconfirmed batch belongs to nobody until the next look at its events.
UPDATE reminder_batches SET run_id = NULL, run_attempt = NULL, followed_up_at = CASE WHEN :read THEN now() ELSE followed_up_at END
WHERE id = :id AND run_id = :run_id AND run_attempt = :run_attempt AND status = 'unconfirmed'
