-- The triggers on our tables that are in force.
select g.tgname::text
  from pg_trigger g
  join pg_class t on t.oid = g.tgrelid
 where t.relnamespace = to_regnamespace('{schema}') and starts_with(t.relname, 'workflow_')
   and not g.tgisinternal and g.tgenabled not in ('D', 'R')
