-- What this library adds. Everything is additive: programs in other languages go on as before.
-- About the steps see steps.py.

alter table {schema}.workflow_run
    -- The proof of a lease: each claim of a run gets a greater one.
    add column if not exists fence bigint not null default 0,
    -- What travels beside the payload, such as a trace context.
    add column if not exists headers jsonb;

-- step
-- The list of event types grows by rescued, released and discarded. The old constraint may have any
-- name. The new one is wider, so no existing row needs to be looked at: not valid skips that.
do $$
declare
    old_check text;
begin
    for old_check in
        select conname from pg_constraint
         where conrelid = '{schema}.workflow_event'::regclass and contype = 'c'
           and pg_get_constraintdef(oid) like '%event_type%'
    loop
        execute format('alter table {schema}.workflow_event drop constraint %I', old_check);
    end loop;
end
$$;
alter table {schema}.workflow_event
    add constraint workflow_event_event_type_check
    check (event_type in ('created', 'leased', 'started', 'heartbeat', 'succeeded', 'failed',
                          'retried', 'cancelled', 'rescued', 'released', 'discarded')) not valid;

-- step
-- What an attempt that was broken off has left would be taken for the indexes below.
do $$
declare
    broken text;
begin
    for broken in
        select indexrelid::regclass from pg_index
         where indexrelid in (to_regclass('{schema}.idx_workflow_run_pending'),
                              to_regclass('{schema}.idx_workflow_run_leased'))
           and not indisvalid
    loop
        execute format('drop index %s', broken);
    end loop;
end
$$;

-- step: concurrently
-- Claims walk this one; see claim.sql.
create index concurrently if not exists idx_workflow_run_pending
    on {schema}.workflow_run (type collate "C", priority, run_at, created_at)
    where status = 'pending' and deleted_at is null;

-- step: concurrently
-- Rescues walk this one.
create index concurrently if not exists idx_workflow_run_leased
    on {schema}.workflow_run (lease_until)
    where status = 'leased' and deleted_at is null;

-- step
-- Replaced by the above, a duplicate of the unique constraint, and one that holds every row.
drop index if exists {schema}.idx_workflow_run_claim;
drop index if exists {schema}.idx_workflow_run_type_prefix;
drop index if exists {schema}.idx_workflow_run_idempotency;
drop index if exists {schema}.idx_workflow_run_deleted_at;
