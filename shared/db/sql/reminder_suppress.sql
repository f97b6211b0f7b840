-- The first reason stays.
INSERT INTO suppressions (email, reason, source)
SELECT DISTINCT ON (email) email, reason, :source
FROM unnest(CAST(:emails AS text[]), CAST(:reasons AS text[])) AS s (email, reason)
ORDER BY email
ON CONFLICT (email) DO NOTHING
RETURNING email
