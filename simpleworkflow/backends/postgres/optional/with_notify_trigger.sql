-- Wakes idle workers for runs that programs in other languages insert. No migration: who wants it says
-- so, and may take it away again. A later change of it reaches who has it by a numbered migration.

-- The transition table needs no right of the one who inserts, nor does NOTIFY; so this runs as them.
create or replace function {schema}.simpleworkflow_notify() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp
as $$
begin
    -- Not now(), which is the begin of the transaction: a producer's own "at once" comes after it.
    if exists (select from inserted
                where status = 'pending' and run_at <= clock_timestamp() and deleted_at is null) then
        notify {channel};
    end if;
    return null;
end
$$;

-- Our own sessions say by the setting that they notify themselves, and more cheaply.
create or replace trigger simpleworkflow_notify
    after insert on {schema}.workflow_run
    referencing new table as inserted
    for each statement
    when (pg_catalog.current_setting('simpleworkflow.notifies', true) is distinct from 'on')
    execute function {schema}.simpleworkflow_notify();
