-- The tables that programs in other languages share. On a database that has them, nothing happens
-- here: every statement asks first. About the steps see steps.py.
do $$
begin
    -- Asking first matters: "if not exists" wants the right to create schemas even when it exists.
    if not exists (select from pg_namespace where format('"%s"', nspname) = '{schema}') then
        create schema {schema};
    end if;
end
$$;

create table if not exists {schema}.workflow_migration (
    version int primary key,
    name text not null,
    applied_at timestamptz not null default now()
);

create table if not exists {schema}.workflow_run (
    id uuid primary key default gen_random_uuid(),
    type text not null,
    payload jsonb not null,
    status text not null default 'pending'
        check (status in ('pending', 'leased', 'succeeded', 'failed', 'cancelled')),
    priority int not null default 100,
    run_at timestamptz not null default now(),
    idempotency_key text unique,
    attempt int not null default 0,
    max_attempts int not null default 3,
    leased_by text,
    lease_until timestamptz,
    last_error text,
    result jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);

create table if not exists {schema}.workflow_event (
    id bigserial primary key,
    workflow_id uuid not null references {schema}.workflow_run (id) on delete cascade,
    event_type text not null
        check (event_type in ('created', 'leased', 'started', 'heartbeat', 'succeeded', 'failed',
                              'retried', 'cancelled')),
    data jsonb,
    created_at timestamptz not null default now()
);

create table if not exists {schema}.workflow_schedule (
    id uuid primary key default gen_random_uuid(),
    type text not null,
    payload jsonb not null default '{}',
    schedule text not null,
    timezone text not null default 'UTC',
    next_run_at timestamptz not null,
    last_run_at timestamptz,
    enabled boolean not null default true,
    priority int not null default 100,
    max_attempts int not null default 3,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);

-- What an attempt that was broken off has left would be taken for the index.
do $$
begin
    if exists (select from pg_index
                where indexrelid = to_regclass('{schema}.idx_workflow_event_workflow_id')
                  and not indisvalid) then
        drop index {schema}.idx_workflow_event_workflow_id;
    end if;
end
$$;

-- step: concurrently
create index concurrently if not exists idx_workflow_event_workflow_id
    on {schema}.workflow_event (workflow_id, created_at desc);

-- step
create index if not exists idx_workflow_schedule_next_run_at
    on {schema}.workflow_schedule (next_run_at) where enabled and deleted_at is null;
create index if not exists idx_workflow_schedule_type
    on {schema}.workflow_schedule (type);
