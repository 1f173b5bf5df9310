
-- A worker claims, extends, settles and rescues runs, and fires schedules. It can delete nothing, and
-- change nothing of what was asked for.
{each}
grant update (status, run_at, attempt, leased_by, lease_until, fence, crashes, last_error, result,
              updated_at)
    on {schema}.workflow_run to {role};
-- What firing a schedule writes: the run, and when the schedule fires next.
grant insert (type, payload, priority, run_at, max_attempts, idempotency_key, headers, created_at,
              updated_at)
    on {schema}.workflow_run to {role};
grant select on {schema}.workflow_schedule to {role};
grant update (next_run_at, last_run_at, updated_at) on {schema}.workflow_schedule to {role};
-- It announces itself, and forgets those that vanished.
grant select, insert, update (patterns, seen_at, clock), delete on {schema}.workflow_worker to {role};
