-- What this library adds to schedules. Rows of programs that know nothing of it go on as before.
alter table {schema}.workflow_schedule
    add column if not exists catch_up text not null default 'latest'
        check (catch_up in ('latest', 'all', 'none'));
-- What travels beside the payload of its runs.
alter table {schema}.workflow_schedule add column if not exists headers jsonb;
