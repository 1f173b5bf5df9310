-- Create runs and their first events; say which were created. The others' key or id is taken.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
),
asked as (
    select id, type, payload, priority, run_at, delay, max_attempts, key, headers,
           key_while_active, key_seconds, ord
      from unnest(:ids::uuid[], :run_types::text[], :payloads::text[], :priorities::int[],
                  :run_ats::timestamptz[], :delays::float8[], :max_attempts::int[],
                  :keys::text[], :headers::text[], :key_while_actives::boolean[],
                  :key_seconds::float8[])
           with ordinality as a (id, type, payload, priority, run_at, delay, max_attempts, key,
                                 headers, key_while_active, key_seconds, ord)
     order by ord
),
{ready}
created as (
    insert into {schema}.workflow_run
           (id, type, payload, priority, run_at, max_attempts, idempotency_key, headers,
            key_while_active, key_until, created_at, updated_at)
    select id, type, payload::jsonb, priority,
           coalesce(run_at, (select now from moment) + delay * interval '1 second'),
           max_attempts, key, headers::jsonb, key_while_active,
           (select now from moment) + key_seconds * interval '1 second',
           (select now from moment), (select now from moment)
      from ready
        on conflict do nothing
    returning id
),
history as (
    insert into {schema}.workflow_event (workflow_id, event_type, data, created_at)
    select id, 'created', '{}', (select now from moment) from created
)
-- None means all: the usual case, told in one word. The notification is one, if there is news.
select case when count(*) < :count::bigint then coalesce(array_agg(id::text), '{}') end,
       (select pg_notify(:channel::text, '')
         where :channel::text is not null and exists (select from created))
  from created
