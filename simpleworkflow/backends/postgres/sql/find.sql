-- Runs that are meant, the newest first, their columns in the order of the record Run. The last part
-- says where they are looked for: a list is made of what one or two of these find.
--
-- An age also ends the walk through ids that begin with the time; no producer's clock is taken to be
-- wrong by more than a day.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
),
given as materialized (
    select lows, highs, lows[1] as lowest, highs[cardinality(highs)] as highest
      from (select :lows::text[] as lows, :highs::text[] as highs) sorted
),
born as materialized (
    select coalesce(now - :newer_than::float8 * interval '1 second', '-infinity') as since,
           coalesce(now - :older_than::float8 * interval '1 second', 'infinity') as until,
           extract(epoch from now - interval '1 day') - :newer_than::float8 as since_second,
           extract(epoch from now + interval '1 day') - :older_than::float8 as until_second
      from moment
),
edge as materialized (
    select rpad(lpad(to_hex(greatest(0, 1000 * coalesce(since_second, 0))::bigint), 12, '0'),
                32, '0')::uuid as low,
           case when until_second is not null
                then rpad(lpad(to_hex(greatest(0, 1000 * until_second)::bigint), 12, '0'),
                          32, '0')::uuid
           end as high
      from born
)
select r.id::text, r.type, r.status, r.payload::text, r.priority,
       greatest(least(r.run_at, timestamptz '9999-12-30Z'), timestamptz '0001-01-03Z'),
       r.attempt, r.max_attempts, coalesce(r.idempotency_key, r.former_key), r.leased_by,
       r.lease_until, r.fence, r.last_error, r.result::text, r.headers::text, r.created_at, r.updated_at
  from {schema}.workflow_run r
 cross join lateral (
    select case when get_byte(uuid_send(r.id), 6) >> 4 <> 7 or r.id >= '03bb2cc3-d800-0000-0000-000000000000'
                then (1000000 * extract(epoch from r.created_at))::bigint
                else 1000 * ('x' || left(encode(uuid_send(r.id), 'hex'), 12))::bit(48)::bigint
           end as at
 ) place
 where r.deleted_at is null
   and r.status = any (:statuses::text[])
   -- The quick look first: a rare type is looked for among all the others.
   and r.type collate "C" >= (select lowest from given)
   and r.type collate "C" < (select highest from given)
   and exists (
        select from given cross join unnest(lows, highs) as span (low, high)
         where r.type collate "C" >= span.low and r.type collate "C" < span.high
   )
   and r.created_at > (select since from born) and r.created_at <= (select until from born)
   and (:error::text is null or position(lower(:error::text) in lower(r.last_error)) > 0)
   and (:worker_id::text is null or r.leased_by = :worker_id::text)
   and (:key::text is null or r.idempotency_key = :key::text)
   and {asked}
 limit :limit::bigint
