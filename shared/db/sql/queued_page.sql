-- Queued runs in pages by id: to push all of them again after Redis forgot, or to check them slowly (rule 14).
SELECT id, attempt + 1 AS attempt, queue, priority
FROM job_runs
WHERE state = 'queued' AND id > CAST(:after AS uuid) AND queued_at < now() - make_interval(secs => :older_than_s)
ORDER BY id
LIMIT :most
