-- Our tables by the server's statistics, with their storage parameters.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
)
select c.relname::text, greatest(c.reltuples::bigint, s.n_live_tup, 0), coalesce(s.n_dead_tup, 0),
       pg_total_relation_size(c.oid),
       extract(epoch from (select now from moment) - greatest(s.last_vacuum, s.last_autovacuum))::float8,
       coalesce(c.reloptions, '{}')
  from pg_class c
  left join pg_stat_all_tables s on s.relid = c.oid
 where c.relnamespace = to_regnamespace('{schema}')
   and c.relkind = 'r' and starts_with(c.relname, 'workflow_')
 order by c.relname
