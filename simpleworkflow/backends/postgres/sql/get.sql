-- One run, its columns in the order of the record Run.
select id::text, type, status, payload::text, priority,
       greatest(least(run_at, timestamptz '9999-12-30Z'), timestamptz '0001-01-03Z'),
       attempt, max_attempts, coalesce(idempotency_key, former_key), leased_by, lease_until, fence,
       last_error, result::text, headers::text, created_at, updated_at
  from {schema}.workflow_run
 where id = :id::uuid and deleted_at is null
