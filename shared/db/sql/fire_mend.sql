-- Broken rows that can be read after all are due again, from where they were. Paused ones wait for that.
UPDATE schedules s
SET broken = NULL, broken_due = NULL,
  next_run_time = CASE WHEN d.paused THEN NULL ELSE s.broken_due END,
  paused_from = CASE WHEN d.paused THEN coalesce(s.paused_from, s.broken_due) ELSE s.paused_from END
FROM (
  SELECT b.id, b.generation, EXISTS (SELECT FROM pauses p WHERE p.kind = 'schedule' AND p.name = b.id) AS paused
  FROM unnest(CAST(:ids AS text[]), CAST(:generations AS bigint[])) AS b (id, generation)
) d
WHERE s.id = d.id AND s.generation = d.generation AND s.broken IS NOT NULL
RETURNING s.id
