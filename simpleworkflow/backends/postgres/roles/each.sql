set local simpleworkflow.role to {role};
do $$
begin
    if not exists (select from pg_roles where rolname = current_setting('simpleworkflow.role')) then
        execute format('create role %I login', current_setting('simpleworkflow.role'));
    end if;
end
$$;
grant usage on schema {schema} to {role};
grant select (version) on {schema}.workflow_migration to {role};
grant select on {schema}.workflow_run, {schema}.workflow_event to {role};
-- Whoever moves a run writes the event of it.
grant insert (workflow_id, event_type, data, created_at) on {schema}.workflow_event to {role};
grant usage on sequence {schema}.workflow_event_id_seq to {role};
