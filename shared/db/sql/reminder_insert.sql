-- Takes reminders into a batch: the rows, and the check that each is still owed (rule 31). What changed since it was
-- rendered, or is being changed right now, is left out and comes again; a suppressed address gets a row and no mail.
WITH candidate AS (
  SELECT * FROM unnest(
    CAST(:ids AS uuid[]), CAST(:invoices AS uuid[]), CAST(:stages AS text[]), CAST(:versions AS text[]),
    CAST(:failures AS text[])
  ) AS c (id, invoice_id, stage, version, failure)
), held AS (
  SELECT i.id, i.customer_id, u.email, CAST(i.xmin AS text) || ' ' || CAST(u.xmin AS text) AS version
  FROM invoices i CROSS JOIN LATERAL (
    SELECT c.email, c.xmin FROM customers c WHERE c.id = i.customer_id
    OFFSET 0  -- one by one: joined as a set, all customers there are would be read for each batch
  ) u
  WHERE i.id = ANY (CAST(:invoices AS uuid[])) AND i.status = 'open'
  ORDER BY i.id
  FOR SHARE OF i SKIP LOCKED
), checked AS (
  SELECT c.*, h.customer_id, h.email, s.reason AS suppressed
  FROM candidate c JOIN held h ON h.id = c.invoice_id AND h.version = c.version
  LEFT JOIN suppressions s ON s.email = cuebx_address(h.email)
  WHERE EXISTS (SELECT FROM job_runs WHERE id = :run_id AND attempt = :run_attempt AND state = 'running')
)
INSERT INTO payment_reminders (id, invoice_id, customer_id, stage, status, reason, batch_id, email, run_id, run_attempt)
SELECT id, invoice_id, customer_id, stage,
  CASE WHEN suppressed IS NOT NULL THEN 'suppressed' WHEN failure IS NOT NULL THEN 'failed' ELSE 'pending' END,
  coalesce(suppressed, failure),
  CASE WHEN suppressed IS NULL AND failure IS NULL THEN CAST(:batch_id AS uuid) END,
  email, :run_id, :run_attempt
FROM checked
ORDER BY invoice_id, stage  -- everybody inserts in this order: no deadlock between two runs
ON CONFLICT (invoice_id, stage) DO NOTHING
RETURNING id, status
