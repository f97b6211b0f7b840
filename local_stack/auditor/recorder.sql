-- A flight recorder for databases under test: every step of a run, a schedule, a refund and a batch, kept where the product
-- does not look. The ledger alone holds only the latest attempt; this is what shows a write that should not have been.
CREATE SCHEMA auditor;

CREATE TABLE auditor.run_steps (
  n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  run_id uuid NOT NULL,
  state_was text, state text,            -- NULL: the row was inserted, or deleted
  attempt_was integer, attempt integer,
  max_attempts_was integer, max_attempts integer,
  worker text
);

CREATE FUNCTION auditor.note_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO auditor.run_steps (run_id, state_was, state, attempt_was, attempt, max_attempts_was, max_attempts, worker)
  VALUES (coalesce(NEW.id, OLD.id), OLD.state, NEW.state, OLD.attempt, NEW.attempt, OLD.max_attempts, NEW.max_attempts,
    coalesce(NEW.worker, OLD.worker));
  RETURN NULL;
END $$;
CREATE TRIGGER auditor AFTER INSERT OR UPDATE OF state, attempt, max_attempts OR DELETE ON job_runs
  FOR EACH ROW EXECUTE FUNCTION auditor.note_run();

-- `at` is the transaction's time, as in the audit log: it tells a removal by a person from a schedule that has ended.
CREATE TABLE auditor.schedule_steps (
  n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT now(),
  tx bigint NOT NULL DEFAULT txid_current(),
  op text NOT NULL,
  schedule_id text NOT NULL,
  generation bigint NOT NULL,
  next_due double precision,             -- the fire that is waited for; of a paused row the first that the pause drops
  paused boolean NOT NULL,
  trigger jsonb
);

CREATE FUNCTION auditor.note_schedule() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE s record;
BEGIN
  IF TG_OP = 'DELETE' THEN s := OLD; ELSE s := NEW; END IF;
  INSERT INTO auditor.schedule_steps (op, schedule_id, generation, next_due, paused, trigger)
  VALUES (TG_OP, s.id, s.generation, coalesce(s.next_run_time, s.paused_from, s.broken_due), s.paused_from IS NOT NULL,
    s.job_state -> 'trigger');
  RETURN NULL;
END $$;
CREATE TRIGGER auditor AFTER INSERT OR UPDATE OR DELETE ON schedules
  FOR EACH ROW EXECUTE FUNCTION auditor.note_schedule();

-- Writes to business rows, with the attempt that they name. `began`: when the client sent the statement.
CREATE TABLE auditor.writes (
  n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  began timestamptz NOT NULL DEFAULT statement_timestamp(),
  kind text NOT NULL,
  subject uuid NOT NULL,
  status_was text, status text,
  run_id uuid, run_attempt integer
);

CREATE FUNCTION auditor.note_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_TABLE_NAME = 'refund_attempts' THEN
    INSERT INTO auditor.writes (kind, subject, status, run_id, run_attempt)
    VALUES ('refund attempt', NEW.refund_id, 'started', NEW.run_id, NEW.run_attempt);
  ELSIF NEW.status <> OLD.status AND OLD.run_attempt IS NOT NULL THEN
    INSERT INTO auditor.writes (kind, subject, status_was, status, run_id, run_attempt)
    VALUES (TG_ARGV[0], NEW.id, OLD.status, NEW.status, OLD.run_id, OLD.run_attempt);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER auditor AFTER INSERT ON refund_attempts FOR EACH ROW EXECUTE FUNCTION auditor.note_write();
CREATE TRIGGER auditor AFTER UPDATE OF status ON refunds FOR EACH ROW EXECUTE FUNCTION auditor.note_write('refund');
CREATE TRIGGER auditor AFTER UPDATE OF status ON reminder_batches FOR EACH ROW EXECUTE FUNCTION auditor.note_write('reminder batch');
