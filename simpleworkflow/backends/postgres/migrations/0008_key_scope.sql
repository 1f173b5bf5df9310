-- For how long an idempotency key holds; both empty means for ever. The plain unique index on
-- idempotency_key stays as it is, for the producers in other languages that rely on it.
alter table {schema}.workflow_run add column if not exists key_while_active boolean;
alter table {schema}.workflow_run add column if not exists key_until timestamptz;
-- The key of a run whose scope has ended and whose key another run has taken over.
alter table {schema}.workflow_run add column if not exists former_key text;
