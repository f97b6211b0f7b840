-- The first schema. The comments say which rule of docs/protocol.md a constraint keeps true.

-- Ids that sort by time: the ready messages of one priority leave Redis in this order, and new rows share index pages.
CREATE FUNCTION cuebx_uuid7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  SELECT encode(
    set_bit(set_bit(
      overlay(uuid_send(gen_random_uuid())
              PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
              FROM 1 FOR 6),
      52, 1), 53, 1), 'hex')::uuid
$$;

-- The scheduler that this replaces had tables of the same names, with pickles in them: they step aside, unread.
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['scheduler_refunds_jobs', 'scheduler_payment_reminders_jobs', 'scheduler_maintenance_jobs'] LOOP
    IF to_regclass(name) IS NOT NULL THEN
      EXECUTE format('ALTER TABLE %I RENAME TO %I', name, 'old_' || name);
    END IF;
  END LOOP;
END $$;

-- ---------------------------------------------------------------------------------------------------- the run ledger

CREATE TABLE job_runs (
  id uuid PRIMARY KEY DEFAULT cuebx_uuid7(),
  job text NOT NULL,
  queue text NOT NULL,
  args jsonb NOT NULL DEFAULT '{}',
  priority smallint NOT NULL DEFAULT 5 CHECK (priority BETWEEN 1 AND 9),
  key text,
  schedule_id text,
  schedule_generation bigint,
  due_at timestamptz,
  coalesced bigint NOT NULL DEFAULT 0 CHECK (coalesced >= 0),
  overlap text NOT NULL DEFAULT 'allow' CHECK (overlap IN ('skip', 'queue', 'allow')),
  run_at timestamptz NOT NULL DEFAULT now(),
  state text NOT NULL DEFAULT 'pending'
    CHECK (state IN ('pending', 'queued', 'running', 'succeeded', 'dead', 'cancelled', 'skipped')),
  attempt integer NOT NULL DEFAULT 0,
  max_attempts integer NOT NULL DEFAULT 10,
  losses integer NOT NULL DEFAULT 0,
  worker text,
  lease_until timestamptz,
  cancel_requested boolean NOT NULL DEFAULT false,
  error text,
  reason text,
  result jsonb,
  enqueued_at timestamptz NOT NULL DEFAULT now(),
  queued_at timestamptz,
  started_at timestamptz,
  finished_at timestamptz,
  CHECK (due_at IS NULL OR (schedule_id IS NOT NULL AND schedule_generation IS NOT NULL)),
  CHECK ((state = 'running') = (lease_until IS NOT NULL))
);
-- Every row that is live is updated a few times: leave room for it on its page.
ALTER TABLE job_runs SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

-- Invariant U (rule 18): at most one run per fire, whatever crashes.
CREATE UNIQUE INDEX job_runs_fire ON job_runs (schedule_id, schedule_generation, due_at) WHERE due_at IS NOT NULL;
-- Rule 36: a key that exists returns the existing run.
CREATE UNIQUE INDEX job_runs_key ON job_runs (job, key) WHERE key IS NOT NULL;
-- Rule 19: the net below the relay's head-of-schedule rule.
CREATE UNIQUE INDEX job_runs_one_running ON job_runs (schedule_id) WHERE state = 'running' AND overlap = 'queue';
-- The live states alone are indexed for work, so the cost does not grow with history.
CREATE INDEX job_runs_ready ON job_runs (queue, run_at) WHERE state = 'pending';
CREATE INDEX job_runs_queued ON job_runs (id) WHERE state = 'queued';
CREATE INDEX job_runs_leases ON job_runs (lease_until) WHERE state = 'running';
CREATE INDEX job_runs_live_schedule ON job_runs (schedule_id, schedule_generation, due_at)
  WHERE schedule_id IS NOT NULL AND state IN ('pending', 'queued', 'running');
-- Rule 19: the heads of schedules whose fires queue up.
CREATE INDEX job_runs_series ON job_runs (schedule_id, schedule_generation, due_at)
  WHERE overlap = 'queue' AND due_at IS NOT NULL AND state IN ('pending', 'queued', 'running');
CREATE INDEX job_runs_dead ON job_runs (finished_at) WHERE state = 'dead';
CREATE INDEX job_runs_finished ON job_runs (finished_at) WHERE state IN ('succeeded', 'dead', 'cancelled', 'skipped');
CREATE INDEX job_runs_of_schedule ON job_runs (schedule_id, enqueued_at) WHERE schedule_id IS NOT NULL;

CREATE TABLE pauses (
  kind text NOT NULL CHECK (kind IN ('queue', 'job', 'schedule')),
  name text NOT NULL,
  reason text NOT NULL DEFAULT '',
  -- NULL: by a person, until a person ends it. Otherwise outage, rate, credits or credentials: ends after a probe (rule 23).
  cause text CHECK (cause IN ('outage', 'rate', 'credits', 'credentials')),
  probe_at timestamptz,
  probes integer NOT NULL DEFAULT 0,
  actor text NOT NULL DEFAULT 'operator',
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (kind, name)
);

CREATE TABLE audit_log (
  id uuid PRIMARY KEY DEFAULT cuebx_uuid7(),
  at timestamptz NOT NULL DEFAULT now(),
  actor text NOT NULL,
  action text NOT NULL,
  subject_kind text NOT NULL,
  subject_id text NOT NULL,
  detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_subject ON audit_log (subject_kind, subject_id, at);

-- ------------------------------------------------------------------------------------------------ leader and schedules

-- The identity is the sequence that numbers terms (rule 16): Redis can forget, this cannot.
CREATE TABLE leader_terms (
  term bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  holder text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),
  ended_at timestamptz,
  end_reason text
);

-- What the leader last saw of Redis (rule 14): a new server id or an older counter means that messages were lost.
CREATE TABLE redis_marks (
  one boolean PRIMARY KEY DEFAULT true CHECK (one),
  redis_run_id text NOT NULL,
  counter bigint NOT NULL,
  seen_at timestamptz NOT NULL DEFAULT now()
);

CREATE SEQUENCE schedule_generations;

-- Ids are unique across the stores, and a removed id that code defines stays removed until it is reset (rule 17).
CREATE TABLE schedule_ids (
  id text PRIMARY KEY,
  store text NOT NULL
);
CREATE TABLE schedule_removals (
  id text PRIMARY KEY,
  store text NOT NULL,
  actor text NOT NULL,
  removed_at timestamptz NOT NULL DEFAULT now()
);
-- Ids whose definition an operator wants back; the leader, who alone writes those, serves and deletes the request.
CREATE TABLE schedule_resets (
  id text PRIMARY KEY,
  actor text NOT NULL,
  requested_at timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION cuebx_schedule_id() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO schedule_ids (id, store) VALUES (NEW.id, NEW.store);
    RETURN NEW;
  END IF;
  DELETE FROM schedule_ids WHERE id = OLD.id;
  RETURN OLD;
END $$;

-- One table per store, all of them partitions of one: a statement on `schedules` serves them all. APScheduler's columns
-- come first (id, next_run_time, job_state), then ours: its Job has slots, so policy lives beside it.
CREATE TABLE schedules (
  id varchar(191) NOT NULL,
  store text NOT NULL,
  next_run_time double precision,        -- seconds since 1970 UTC; NULL: paused, broken or finished
  job_state jsonb NOT NULL,
  generation bigint NOT NULL DEFAULT nextval('schedule_generations'),  -- a new one for each definition (rule 18)
  version integer,                       -- NULL: made by people; else the version that code gave the definition
  settings_hash text,                    -- what the settings made of a code-defined schedule
  edited_by text,                        -- an operator's edit outlives terms (rule 17)
  misfire_grace_s double precision,      -- NULL: none, late is better than never
  catch_up boolean NOT NULL DEFAULT false,
  overlap text CHECK (overlap IN ('skip', 'queue', 'allow')),  -- NULL: the job's own
  paused_from double precision,          -- the first fire that the pause dropped; counted on resume (rule 23)
  broken text,                           -- why the row cannot be restored (rule 21)
  broken_due double precision,           -- the due time that a broken row keeps
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CHECK (NOT catch_up OR overlap IS NULL OR overlap = 'queue'),
  PRIMARY KEY (id, store)
) PARTITION BY LIST (store);
CREATE TABLE scheduler_refunds_jobs PARTITION OF schedules (store DEFAULT 'refunds') FOR VALUES IN ('refunds');
CREATE TABLE scheduler_payment_reminders_jobs PARTITION OF schedules (store DEFAULT 'payment_reminders')
  FOR VALUES IN ('payment_reminders');
CREATE TABLE scheduler_maintenance_jobs PARTITION OF schedules (store DEFAULT 'maintenance') FOR VALUES IN ('maintenance');
CREATE INDEX schedules_due ON schedules (next_run_time) WHERE next_run_time IS NOT NULL;
CREATE INDEX schedules_broken ON schedules (id) WHERE broken IS NOT NULL;
CREATE TRIGGER schedules_id BEFORE INSERT OR DELETE ON schedules FOR EACH ROW EXECUTE FUNCTION cuebx_schedule_id();
-- A store that somebody empties with TRUNCATE takes its ids along.
CREATE FUNCTION cuebx_store_truncated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM schedule_ids WHERE store = TG_ARGV[0];
  RETURN NULL;
END $$;
CREATE TRIGGER truncated AFTER TRUNCATE ON scheduler_refunds_jobs
  FOR EACH STATEMENT EXECUTE FUNCTION cuebx_store_truncated('refunds');
CREATE TRIGGER truncated AFTER TRUNCATE ON scheduler_payment_reminders_jobs
  FOR EACH STATEMENT EXECUTE FUNCTION cuebx_store_truncated('payment_reminders');
CREATE TRIGGER truncated AFTER TRUNCATE ON scheduler_maintenance_jobs
  FOR EACH STATEMENT EXECUTE FUNCTION cuebx_store_truncated('maintenance');

-- ------------------------------------------------------------------------------------------------------------ billing

-- An address as suppressions and the provider's events know it. Outside programs write customers with blanks around it.
CREATE FUNCTION cuebx_address(email text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
  RETURN lower(btrim(email, E' \t\n\r\f\v'));

CREATE TABLE customers (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  email text NOT NULL,
  name text NOT NULL DEFAULT '',
  locale text NOT NULL DEFAULT 'en_US',
  time_zone text NOT NULL DEFAULT 'UTC',
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE invoices (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  customer_id uuid NOT NULL REFERENCES customers (id),
  amount_due bigint NOT NULL CHECK (amount_due >= 0),
  currency text NOT NULL CHECK (currency ~ '^[A-Za-z]{3}$'),
  due_at timestamptz NOT NULL,
  status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'paid', 'void')),
  number text,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX invoices_open ON invoices (due_at) WHERE status = 'open';
CREATE INDEX invoices_customer ON invoices (customer_id);

CREATE TABLE refunds (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  payment_intent_id text NOT NULL,
  amount bigint NOT NULL CHECK (amount > 0),
  currency text NOT NULL CHECK (currency ~ '^[A-Za-z]{3}$'),
  status text NOT NULL DEFAULT 'pending'
    CHECK (status IN ('pending', 'processing', 'submitted', 'succeeded', 'failed', 'needs_review')),
  provider_refund_id text,
  reason text CHECK (reason IN ('duplicate', 'fraudulent', 'requested_by_customer')),
  generation integer NOT NULL DEFAULT 1,     -- part of the idempotency key; only an audited decision raises it (rule 24)
  run_id uuid,                               -- the live run (rule 28); no foreign key: the ledger is pruned
  run_attempt integer,                       -- the fence (rule 7)
  dead_runs integer NOT NULL DEFAULT 0,      -- process_refund runs that died: after a few a person looks
  failure_reason text,                       -- the provider's, or ours
  review_reason text,                        -- why a person must look
  submitted_at timestamptz,
  succeeded_at timestamptz,                  -- last; kept: one that succeeded and then fails is for a person (rule 29)
  reconciled_at timestamptz,
  request_key text,                          -- the caller's Idempotency-Key: a repeated request finds this refund
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX refunds_request ON refunds (request_key) WHERE request_key IS NOT NULL;
CREATE INDEX refunds_waiting ON refunds (created_at, id) WHERE status IN ('pending', 'processing');
CREATE INDEX refunds_settling ON refunds (status, reconciled_at) WHERE status IN ('submitted', 'succeeded');
CREATE INDEX refunds_review ON refunds (updated_at) WHERE status = 'needs_review';
CREATE UNIQUE INDEX refunds_provider ON refunds (provider_refund_id) WHERE provider_refund_id IS NOT NULL;
-- Rule 26: two refunds of one payment intent are served one after the other.
CREATE UNIQUE INDEX refunds_one_at_a_time ON refunds (payment_intent_id) WHERE status = 'processing';

CREATE TABLE refund_attempts (
  id uuid PRIMARY KEY DEFAULT cuebx_uuid7(),
  refund_id uuid NOT NULL REFERENCES refunds (id),
  generation integer NOT NULL,
  idempotency_key text NOT NULL,
  run_id uuid NOT NULL,
  run_attempt integer NOT NULL,
  started_at timestamptz NOT NULL DEFAULT now(),  -- the generation's first one starts the 23 hours (rule 27)
  finished_at timestamptz,
  outcome text,                                   -- NULL: unknown; the words are in shared/core/refunds.py
  provider_refund_id text,
  error text,
  UNIQUE (refund_id, generation, run_id, run_attempt)
);

-- Rule 25: what an idempotency key stands for is frozen once an attempt exists. The provider compares the reason, too.
CREATE FUNCTION cuebx_refund_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (NEW.amount, NEW.currency, NEW.payment_intent_id, NEW.reason)
     IS DISTINCT FROM (OLD.amount, OLD.currency, OLD.payment_intent_id, OLD.reason)
     AND EXISTS (SELECT FROM refund_attempts a WHERE a.refund_id = OLD.id) THEN
    RAISE EXCEPTION 'refund %: amount, currency, payment_intent_id and reason are frozen, an attempt exists', OLD.id
      USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER refunds_frozen BEFORE UPDATE OF amount, currency, payment_intent_id, reason ON refunds
  FOR EACH ROW EXECUTE FUNCTION cuebx_refund_frozen();

CREATE TABLE reminder_batches (
  id uuid PRIMARY KEY DEFAULT cuebx_uuid7(),
  idempotency_key uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
  tag text NOT NULL UNIQUE,
  status text NOT NULL DEFAULT 'pending'
    CHECK (status IN ('pending', 'sending', 'unconfirmed', 'sent', 'split', 'void', 'failed', 'needs_review')),
  content jsonb NOT NULL,                    -- frozen: exactly this is sent again after a crash (rule 31)
  parent_id uuid REFERENCES reminder_batches (id),
  run_id uuid,
  run_attempt integer,
  calls integer NOT NULL DEFAULT 0,          -- those that may have sent something: a definite refusal takes its own back
  first_call_at timestamptz,                 -- starts the provider's 30 minutes
  last_call_at timestamptz,
  error text,
  created_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  followed_up_at timestamptz                 -- when its events were last read; once it is sent: read once more, in case a webhook was lost
);
CREATE INDEX reminder_batches_open ON reminder_batches (created_at) WHERE status IN ('pending', 'sending', 'unconfirmed');
CREATE INDEX reminder_batches_follow_up ON reminder_batches (finished_at) WHERE status = 'sent' AND followed_up_at IS NULL;

CREATE TABLE payment_reminders (
  id uuid PRIMARY KEY DEFAULT cuebx_uuid7(),
  invoice_id uuid REFERENCES invoices (id),
  customer_id uuid REFERENCES customers (id),
  stage text NOT NULL,
  once_run_id uuid UNIQUE,                   -- stage 'once': its business id is its run's id (rule 34)
  status text NOT NULL DEFAULT 'pending'
    CHECK (status IN ('pending', 'sending', 'unconfirmed', 'sent', 'skipped', 'suppressed', 'failed', 'needs_review')),
  reason text,
  batch_id uuid REFERENCES reminder_batches (id) DEFERRABLE INITIALLY DEFERRED,  -- the rows come first, then what is frozen of them
  email text,                                -- the address it went to, as frozen with the batch
  message_id text,
  run_id uuid,
  run_attempt integer,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  sent_at timestamptz,
  -- Invariant M: a second reminder is impossible.
  UNIQUE (invoice_id, stage),
  CHECK ((invoice_id IS NULL) = (stage = 'once')),
  CHECK (stage <> 'once' OR (customer_id IS NOT NULL AND once_run_id IS NOT NULL))
);
CREATE INDEX payment_reminders_batch ON payment_reminders (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX payment_reminders_message ON payment_reminders (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX payment_reminders_open ON payment_reminders (created_at) WHERE status IN ('pending', 'sending', 'unconfirmed', 'needs_review');

CREATE TABLE suppressions (
  email text PRIMARY KEY CHECK (email = lower(email)),
  reason text NOT NULL,
  source text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE webhook_events (
  provider text NOT NULL CHECK (provider IN ('stripe', 'brevo')),
  event_id text NOT NULL,
  type text NOT NULL,
  body jsonb NOT NULL,
  received_at timestamptz NOT NULL DEFAULT now(),
  applied_at timestamptz,
  outcome text,
  PRIMARY KEY (provider, event_id)
);
CREATE INDEX webhook_events_waiting ON webhook_events (received_at) WHERE applied_at IS NULL;
