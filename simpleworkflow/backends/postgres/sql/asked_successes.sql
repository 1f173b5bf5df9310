-- Part of settle.sql: one worker's successes, which are most of all settlements, with half the arrays.
given as materialized (
    select :ids::uuid[] as ids, :fences::bigint[] as fences, :attempts::int[] as attempts,
           :results::text[] as results, :tried::int[] as tried, :rans::float8[] as rans
),
asked as (
    select a.id, :worker_id::text as worker_id, a.fence, :status::text as status, a.attempt,
           null::float8 as delay, a.result, null::text as error, :event_type::text as event_type,
           a.tried, a.ran, null::text as note, a.ord
      from given
     cross join unnest(ids, fences, attempts, results, tried, rans)
           with ordinality as a (id, fence, attempt, result, tried, ran, ord)
     limit (select cardinality(ids) from given)
),
