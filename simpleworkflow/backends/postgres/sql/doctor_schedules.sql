-- Enabled schedules whose time has passed, by type.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
)
select s.type,
       extract(epoch from (select now from moment))::float8
           - extract(epoch from greatest(min(s.next_run_at), timestamptz '0001-01-03Z'))::float8,
       count(*)
  from {schema}.workflow_schedule s
 where s.enabled and s.deleted_at is null
   and s.next_run_at <= (select now from moment)
 group by s.type
 order by 2 desc, 1
