-- The foreign key of workflow_event looks up and locks the run's row for every event, which costs a
-- tenth to a quarter of the throughput. Our events are written by the statement that moves the run, so
-- there is nothing for it to find. What it did at a delete, a trigger does for all rows at once.
-- About the steps see steps.py.

-- As the owner, like the foreign key's own action: who may delete a run need not own its history.
create or replace function {schema}.workflow_delete_history() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from {schema}.workflow_event e using gone where e.workflow_id = gone.id;
    return null;
end
$$;

create or replace trigger workflow_delete_history
    after delete on {schema}.workflow_run
    referencing old table as gone
    for each statement execute function {schema}.workflow_delete_history();

-- Every run leaves two dead rows within seconds: wait for a share of a large table and claims would
-- wade through them.
alter table {schema}.workflow_run set (
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.02
);

-- step
-- After the trigger, so that no run is deleted without its history. The one change that locks two
-- tables.
do $$
declare
    foreign_key text;
begin
    for foreign_key in
        select conname from pg_constraint
         where conrelid = '{schema}.workflow_event'::regclass and contype = 'f'
           and confrelid = '{schema}.workflow_run'::regclass
    loop
        execute format('alter table {schema}.workflow_event drop constraint %I', foreign_key);
    end loop;
end
$$;
