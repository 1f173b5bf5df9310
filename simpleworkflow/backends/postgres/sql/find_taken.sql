-- Find the runs that hold these idempotency keys or ids. Sent after the submit that met them, because
-- its own snapshot does not show a run that was committed while it ran.
select a.ord - 1, taken.id::text
  from unnest(:ids::uuid[], :keys::text[]) with ordinality as a (id, key, ord)
 cross join lateral (
    select r.id from {schema}.workflow_run r where r.id = a.id
    union all
    select r.id from {schema}.workflow_run r where r.idempotency_key = a.key
    limit 1
 ) taken
