-- The transactions for which vacuum keeps dead rows, and how long each has been open, where that may
-- be seen.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
)
select format('session %s of %s (%s)', a.pid, coalesce(a.usename, 'nobody'),
              coalesce(nullif(a.application_name, ''), 'no application name')),
       extract(epoch from (select now from moment) - a.xact_start)::float8
  from pg_stat_activity a
 where a.datname = current_database() and a.pid <> pg_backend_pid()
   and (a.backend_xid is not null or a.backend_xmin is not null)
   -- Null where it may not be seen. Vacuum itself holds nothing back.
   and coalesce(a.backend_type, '') <> 'autovacuum worker'
union all
select format('prepared transaction %L of %s', p.gid, p.owner),
       extract(epoch from (select now from moment) - p.prepared)::float8
  from pg_prepared_xacts p
 where p.database = current_database()
