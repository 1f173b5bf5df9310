-- Part of settle.sql and settle_refused.sql: settlements of any kind.
given as materialized (
    select :ids::uuid[] as ids, :worker_ids::text[] as worker_ids, :fences::bigint[] as fences,
           :statuses::text[] as statuses, :attempts::int[] as attempts,
           :delays::float8[] as delays, :results::text[] as results, :errors::text[] as errors,
           :event_types::text[] as event_types, :tried::int[] as tried, :rans::float8[] as rans,
           :notes::text[] as notes
),
asked as (
    select a.*
      from given
     cross join unnest(ids, worker_ids, fences, statuses, attempts, delays, results, errors,
                       event_types, tried, rans, notes)
           with ordinality as a (id, worker_id, fence, status, attempt, delay, result, error,
                                 event_type, tried, ran, note, ord)
     limit (select cardinality(ids) from given)
),
