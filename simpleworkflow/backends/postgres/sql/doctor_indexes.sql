-- The indexes on our tables; of a plain unique one the columns too.
select c.relname::text, i.indisvalid,
       coalesce(s.idx_scan, 0) = 0 and not i.indisunique,
       greatest(t.reltuples::bigint, pg_stat_get_live_tuples(t.oid), 0),
       case when i.indisunique and i.indpred is null and i.indexprs is null then
           (select string_agg(a.attname, ',' order by k.place)
              from unnest(i.indkey::int2[]) with ordinality as k (number, place)
              join pg_attribute a on a.attrelid = t.oid and a.attnum = k.number)
       end
  from pg_index i
  join pg_class c on c.oid = i.indexrelid
  join pg_class t on t.oid = i.indrelid
  left join pg_stat_all_indexes s on s.indexrelid = c.oid
 where t.relnamespace = to_regnamespace('{schema}') and starts_with(t.relname, 'workflow_')
 order by c.relname
