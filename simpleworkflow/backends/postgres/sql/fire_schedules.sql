-- Submit a run for each firing of schedules that are still as they were seen, and move these on.
-- Those that another ticker has locked are its own to fire. A run that exists was submitted by a
-- ticker, perhaps another program's, that did not come to move the schedule on.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
),
asked as (
    select *
      from unnest(:ids::uuid[], :crons::text[], :timezones::text[], :catch_ups::text[],
                  :seen_ats::timestamptz[], :next_ats::timestamptz[])
           as a (id, cron, timezone, catch_up, seen_at, next_at)
),
due as materialized (
    select s.id, s.type, s.payload, s.priority, s.max_attempts, s.headers, a.next_at
      from asked a
      join {schema}.workflow_schedule s on s.id = a.id
     where s.enabled and s.deleted_at is null
       and s.schedule = a.cron and s.timezone = a.timezone and s.catch_up = a.catch_up
       and greatest(least(s.next_run_at, timestamptz '9999-12-30Z'), timestamptz '0001-01-03Z')
           = a.seen_at
     order by s.id
       for update of s skip locked
),
firing as (
    select due.*, f.at, f.key
      from due
      join unnest(:fired_ids::uuid[], :fired_ats::timestamptz[], :keys::text[]) as f (id, at, key)
        on f.id = due.id
),
fired as (
    insert into {schema}.workflow_run
           (type, payload, priority, run_at, max_attempts, idempotency_key, headers, created_at,
            updated_at)
    select type, payload, priority, at, max_attempts, key, headers, (select now from moment),
           (select now from moment)
      from firing
     order by key
        on conflict (idempotency_key) do nothing
    returning id
),
history as (
    insert into {schema}.workflow_event (workflow_id, event_type, data, created_at)
    select id, 'created', '{}', (select now from moment) from fired
),
moved as (
    update {schema}.workflow_schedule s
       set next_run_at = due.next_at,
           last_run_at = coalesce((select max(at) from firing where firing.id = s.id),
                                  s.last_run_at),
           updated_at = (select now from moment)
      from due
     where s.id = due.id
)
select count(*), (select pg_notify(:channel::text, '') where exists (select from fired))
  from fired
