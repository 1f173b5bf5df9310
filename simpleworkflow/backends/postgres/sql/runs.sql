-- The newest runs of the route, in any status, their columns in the order of the record Run.
--
-- For tests and for people: without an index by type and age, it reads the whole table.
with given as materialized (
    select :lows::text[] as lows, :highs::text[] as highs
)
select r.id::text, r.type, r.status, r.payload::text, r.priority,
       greatest(least(r.run_at, timestamptz '9999-12-30Z'), timestamptz '0001-01-03Z'),
       r.attempt, r.max_attempts, coalesce(r.idempotency_key, r.former_key), r.leased_by,
       r.lease_until, r.fence, r.last_error, r.result::text, r.headers::text, r.created_at, r.updated_at
  from {schema}.workflow_run r
 where r.deleted_at is null
   and exists (
        select from given cross join unnest(lows, highs) as span (low, high)
         where r.type collate "C" >= span.low and r.type collate "C" < span.high
   )
 order by r.created_at desc, r.id
 limit :limit::bigint
