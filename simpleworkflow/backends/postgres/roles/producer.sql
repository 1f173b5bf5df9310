
-- A producer submits runs, follows and cancels them, and manages schedules. It can claim and delete
-- nothing; a schedule that it deletes is marked so.
{each}
grant insert (id, type, payload, priority, run_at, max_attempts, idempotency_key, headers,
              key_while_active, key_until, created_at, updated_at)
    on {schema}.workflow_run to {role};
-- What a cancel writes, and a submit for which another run gives up its key.
grant update (status, lease_until, updated_at, idempotency_key, former_key)
    on {schema}.workflow_run to {role};
-- What making, changing and deleting a schedule writes.
grant select on {schema}.workflow_schedule to {role};
grant insert (id, type, payload, schedule, timezone, next_run_at, enabled, priority, max_attempts,
              catch_up, headers, created_at, updated_at)
    on {schema}.workflow_schedule to {role};
grant update (type, payload, schedule, timezone, next_run_at, enabled, priority, max_attempts, catch_up,
              headers, updated_at, deleted_at)
    on {schema}.workflow_schedule to {role};
