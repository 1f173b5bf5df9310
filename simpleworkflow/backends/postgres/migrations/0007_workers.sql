-- Workers announce themselves here, so that people see who is at work. No run depends on it.
create table if not exists {schema}.workflow_worker (
    id uuid primary key,
    worker_id text not null,
    hostname text not null,
    pid int not null,
    version text not null,
    patterns text[] not null,
    concurrency int not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    clock timestamptz not null
);

-- Every worker writes its row anew again and again. With room in its page, and no index on what
-- changes, that leaves nothing for vacuum.
alter table {schema}.workflow_worker set (fillfactor = 50);
