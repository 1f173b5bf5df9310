-- The schedules that are due, the longest due first, and then the one that is next; and the time.
--
-- The index on next_run_at has them in this order: an idle ticker reads one row of it.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
),
due as (
    select id, schedule, timezone, catch_up, next_run_at
      from {schema}.workflow_schedule
     where enabled and deleted_at is null and next_run_at <= (select now from moment)
     order by next_run_at
     limit :limit::bigint
),
later as (
    select id, schedule, timezone, catch_up, next_run_at
      from {schema}.workflow_schedule
     where enabled and deleted_at is null and next_run_at > (select now from moment)
     order by next_run_at
     limit 1
)
select found.id::text, found.schedule, found.timezone, found.catch_up,
       greatest(least(found.next_run_at, timestamptz '9999-12-30Z'), timestamptz '0001-01-03Z'),
       moment.now
  from moment
  left join (select * from due union all select * from later) found on true
 order by found.next_run_at
