-- One e-mail per run (rule 34), or a row that says why there is none. The invoices it lists are checked once more, and held.
WITH held AS (
  SELECT i.id, i.xmin FROM invoices i
  WHERE i.customer_id = :customer_id AND i.status = 'open' AND i.amount_due > 0
  ORDER BY i.id
  FOR SHARE
)
INSERT INTO payment_reminders (id, customer_id, stage, once_run_id, status, reason, batch_id, email, run_id, run_attempt)
SELECT CAST(:id AS uuid), c.id, 'once', CAST(:run_id AS uuid),
  CASE WHEN s.email IS NULL THEN 'pending' ELSE 'suppressed' END, s.reason,
  CASE WHEN s.email IS NULL THEN CAST(:batch_id AS uuid) END, c.email, CAST(:run_id AS uuid), CAST(:run_attempt AS int)
FROM customers c LEFT JOIN suppressions s ON s.email = cuebx_address(c.email)
WHERE c.id = :customer_id AND CAST(c.xmin AS text) = :customer_version
  AND CAST(:versions AS text[]) = ARRAY(SELECT CAST(id AS text) || ' ' || CAST(xmin AS text) FROM held ORDER BY id)
  AND EXISTS (SELECT FROM job_runs WHERE id = :run_id AND attempt = :run_attempt AND state = 'running')
ON CONFLICT (once_run_id) DO NOTHING
RETURNING status
