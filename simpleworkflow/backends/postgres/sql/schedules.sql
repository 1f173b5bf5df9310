-- All schedules, or one; their columns in the order of the record Schedule. Few, and for people.
select id::text, type, payload::text, schedule, timezone,
       greatest(least(next_run_at, timestamptz '9999-12-30Z'), timestamptz '0001-01-03Z'),
       created_at, updated_at,
       case when last_run_at is not null
            then greatest(least(last_run_at, timestamptz '9999-12-30Z'), timestamptz '0001-01-03Z')
       end,
       enabled, priority, max_attempts, catch_up, headers::text
  from {schema}.workflow_schedule
 where deleted_at is null and (:id::uuid is null or id = :id::uuid)
 order by created_at, id
