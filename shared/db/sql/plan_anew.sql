-- For the rest of the transaction. Tables that fill up while a statement is used would be scanned whole by the plan that
-- PostgreSQL made, and keeps, from when they were empty.
SET LOCAL plan_cache_mode = 'force_custom_plan'
