-- A row that cannot be restored leaves the due index, keeps its due time, and is shown (rule 21).
UPDATE schedules s SET broken = p.reason, broken_due = s.next_run_time, next_run_time = NULL
FROM unnest(CAST(:ids AS text[]), CAST(:generations AS bigint[]), CAST(:was AS float8[]), CAST(:reasons AS text[]))
  AS p (id, generation, was, reason)
WHERE s.id = p.id AND s.generation = p.generation AND s.next_run_time = p.was
RETURNING s.id
