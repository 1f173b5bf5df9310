-- Make a schedule as it is wanted, if it is still as it was seen.
update {schema}.workflow_schedule
   set type = :run_type::text,
       payload = :payload::text::jsonb,
       schedule = :cron::text,
       timezone = :timezone::text,
       next_run_at = :next_run_at::timestamptz,
       enabled = :enabled::boolean,
       priority = :priority::int,
       max_attempts = :max_attempts::int,
       catch_up = :catch_up::text,
       headers = :headers::text::jsonb,
       updated_at = coalesce(:now::timestamptz, now())
 where id = :id::uuid and deleted_at is null
   and (type, payload, schedule, timezone,
        greatest(least(next_run_at, timestamptz '9999-12-30Z'), timestamptz '0001-01-03Z'),
        enabled, priority, max_attempts, catch_up, headers)
       is not distinct from
       (:seen_run_type::text, :seen_payload::text::jsonb, :seen_cron::text, :seen_timezone::text,
        :seen_next_run_at::timestamptz,
        :seen_enabled::boolean, :seen_priority::int, :seen_max_attempts::int, :seen_catch_up::text,
        :seen_headers::text::jsonb)
returning id
