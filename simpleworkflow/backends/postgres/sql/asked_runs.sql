-- Part of submit.sql: runs that come as arrays, in their order.
    select id, type, payload, priority, run_at, delay, max_attempts, key, headers
      from unnest(:ids::uuid[], :run_types::text[], :payloads::text[], :priorities::int[],
                  :run_ats::timestamptz[], :delays::float8[], :max_attempts::int[],
                  :keys::text[], :headers::text[])
           with ordinality as a (id, type, payload, priority, run_at, delay, max_attempts, key,
                                 headers, ord)
     order by ord
