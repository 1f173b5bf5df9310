
-- A producer submits runs, follows and cancels them. It can claim and delete nothing.
{each}
grant insert (id, type, payload, priority, run_at, max_attempts, idempotency_key, headers, created_at,
              updated_at)
    on {schema}.workflow_run to {role};
-- What a cancel writes.
grant update (status, lease_until, updated_at) on {schema}.workflow_run to {role};
