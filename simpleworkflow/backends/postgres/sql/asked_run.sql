-- Part of submit.sql: a single run, which the server reads faster without arrays.
    select :id::uuid as id, :run_type::text as type, :payload::text as payload,
           :priority::int as priority, :run_at::timestamptz as run_at, :delay::float8 as delay,
           :max_attempts::int as max_attempts, :key::text as key, :headers::text as headers
