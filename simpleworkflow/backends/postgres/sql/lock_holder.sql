-- The oldest transaction that has locks on the tables of the schema, or that reads anything at all.
-- One that may not be looked at is shown without its age.
select a.pid, coalesce(a.usename::text, a.backend_type), a.application_name,
       extract(epoch from clock_timestamp() - a.xact_start)::float8,
       left(regexp_replace(a.query, '\s+', ' ', 'g'), 100)
  from pg_stat_activity a
 where a.datname = current_database()
   and a.pid <> pg_backend_pid()
   and coalesce(a.xact_start < clock_timestamp() - :seconds::float8 * interval '1 second', true)
   -- Vacuum may read and be overlooked.
   and ((:is_reader_too::boolean and a.backend_xmin is not null
         and a.backend_type <> 'autovacuum worker')
        or exists (
            select from pg_locks l
              join pg_class c on c.oid = l.relation
             where l.pid = a.pid and l.granted
               and l.locktype = 'relation' and l.database = a.datid
               and c.relnamespace = to_regnamespace('{schema}')
        ))
 order by a.xact_start
 limit 1
