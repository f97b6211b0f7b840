-- Pages of what is owed go by (due_at, id): with due_at alone, the invoices of one moment are sorted again for every page.
DROP INDEX invoices_open;
CREATE INDEX invoices_open ON invoices (due_at, id) WHERE status = 'open';

-- What succeeded is read again for some weeks (rule 29): the years before that are not looked at.
CREATE INDEX refunds_watched ON refunds (succeeded_at) WHERE status = 'succeeded';
