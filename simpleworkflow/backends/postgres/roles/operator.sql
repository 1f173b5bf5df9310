
-- An operator reads everything, cancels runs, sets them back to be tried again, deletes them, and
-- manages schedules, whose runs it may submit at once. It cannot change what a run does.
{each}
grant select on {schema}.workflow_migration to {role};
-- The fence, since an outcome from before a retry must not be taken for one of now.
grant update (status, priority, run_at, attempt, max_attempts, leased_by, lease_until, fence,
              last_error, updated_at, deleted_at)
    on {schema}.workflow_run to {role};
-- The history goes with the run, by a trigger that has the owner's rights.
grant delete on {schema}.workflow_run to {role};
grant select, insert, update, delete on {schema}.workflow_schedule to {role};
grant insert (id, type, payload, priority, run_at, max_attempts, idempotency_key, headers, created_at,
              updated_at)
    on {schema}.workflow_run to {role};
grant select on {schema}.workflow_worker to {role};
