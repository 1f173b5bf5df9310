-- Create one run and its first event, in fewer steps than submit.sql takes for any number. No row
-- comes back when its key or id is taken.
with created as (
    insert into {schema}.workflow_run
           (id, type, payload, priority, run_at, max_attempts, idempotency_key, headers,
            created_at, updated_at)
    values (:id::uuid, :run_type::text, :payload::jsonb, :priority::int,
            coalesce(:run_at::timestamptz,
                     coalesce(:now::timestamptz, now()) + :delay::float8 * interval '1 second'),
            :max_attempts::int, :key::text, :headers::jsonb,
            coalesce(:now::timestamptz, now()), coalesce(:now::timestamptz, now()))
        on conflict do nothing
    returning id, created_at
),
history as (
    insert into {schema}.workflow_event (workflow_id, event_type, data, created_at)
    select id, 'created', '{}', created_at from created
)
select (select pg_notify(:channel::text, '') where :channel::text is not null) from created
