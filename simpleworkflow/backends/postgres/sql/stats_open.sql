-- How many runs of each type wait and are leased, and for how many seconds the first has been due.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
)
select type, coalesce(sum(due), 0)::bigint, coalesce(sum(later), 0)::bigint,
       coalesce(sum(leased), 0)::bigint,
       extract(epoch from (select now from moment) - min(oldest))::float8
  from (
    select type collate "C" as type,
           count(*) filter (where run_at <= (select now from moment)) as due,
           count(*) filter (where run_at > (select now from moment)) as later,
           0 as leased,
           min(run_at) filter (where run_at <= (select now from moment)) as oldest
      from {schema}.workflow_run
     where status = 'pending' and deleted_at is null
     group by 1
    union all
    select type collate "C", 0, 0, count(*), null
      from {schema}.workflow_run
     where status = 'leased' and deleted_at is null
     group by 1
  ) of_status
 group by type
