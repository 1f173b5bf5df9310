
-- A worker claims, extends, settles and rescues runs. It can create and delete none, and change
-- nothing of what was asked for.
{each}
grant update (status, run_at, attempt, leased_by, lease_until, fence, crashes, last_error, result,
              updated_at)
    on {schema}.workflow_run to {role};
