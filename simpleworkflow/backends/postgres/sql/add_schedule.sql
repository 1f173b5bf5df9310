-- Create a schedule.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
)
insert into {schema}.workflow_schedule
       (id, type, payload, schedule, timezone, next_run_at, enabled, priority, max_attempts, catch_up,
        headers, created_at, updated_at)
select :id::uuid, :run_type::text, :payload::text::jsonb, :cron::text, :timezone::text,
       :next_run_at::timestamptz, :enabled::boolean, :priority::int, :max_attempts::int,
       :catch_up::text, :headers::text::jsonb, now, now
  from moment
returning id
