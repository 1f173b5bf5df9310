-- Lease the first due runs of the route and record it.
--
-- The index on (type, priority, run_at, created_at) of pending runs is walked from one (type,
-- priority) pair of the route to the next, so runs of other types and runs of the future are never
-- looked at, however many there are. Where that walk is slow, the caller knows the pairs from the
-- claim before, each with the run_at from which to look on. About place and its limit see
-- docs/architecture.md, "Plans".
with recursive
moment as (
    select coalesce(:now::timestamptz, now()) as now
),
given as materialized (
    select :lows::text[] as lows, :highs::text[] as highs,
           :limit::bigint as n, :limit::bigint + :slack::bigint as looked_at,
           :pair_types::text[] as types, :pair_priorities::int[] as priorities,
           :pair_floors::timestamptz[] as floors
),
span as (
    select s.low, s.high
      from given cross join unnest(lows, highs) as s (low, high)
     where cardinality(types) = 0
),
walked (type, priority, high) as (
    select head.type, head.priority, span.high
      from span
     cross join lateral (
        select r.type, r.priority
          from {schema}.workflow_run r
         where r.status = 'pending' and r.deleted_at is null
           and r.type collate "C" >= span.low and r.type collate "C" < span.high
         order by r.type collate "C", r.priority
         limit 1
     ) head
    union all
    select further.type, further.priority, walked.high
      from walked
     cross join lateral (
        select r.type, r.priority
          from {schema}.workflow_run r
         where r.status = 'pending' and r.deleted_at is null
           and (r.type collate "C", r.priority) > (walked.type collate "C", walked.priority)
           and r.type collate "C" < walked.high
         order by r.type collate "C", r.priority
         limit 1
     ) further
),
pair as materialized (
    select type, priority, timestamptz '-infinity' as floor from walked
    union all
    select k.type, k.priority, k.floor
      from given cross join unnest(types, priorities, floors) as k (type, priority, floor)
),
-- With several pairs: the priority by which there are enough due runs ends the search, and the
-- first runs of the pairs up to there say how many are each pair's share. Only so many are locked.
-- Where others have locked all of these, the caller asks again with some slack, and takes the first.
reach as (
    select max(priority) as priority
      from (
        select p.priority
          from (select * from pair order by priority) p
         cross join lateral (
            select
              from {schema}.workflow_run r
             where r.status = 'pending' and r.deleted_at is null
               and r.type collate "C" = p.type and r.priority = p.priority
               and r.run_at >= p.floor and r.run_at <= (select now from moment)
             limit (select looked_at from given)
         ) due
         where (select count(*) from pair) > 1
         limit (select looked_at from given)
      ) enough
),
share (type, priority, floor, n) as (
    select type, priority, floor, (select looked_at from given)
      from pair where (select count(*) from pair) = 1
    union all
    select type, priority, floor, count(*)
      from (
        select p.type, p.priority, p.floor
          from pair p
         cross join lateral (
            select r.run_at, r.created_at
              from {schema}.workflow_run r
             where r.status = 'pending' and r.deleted_at is null
               and r.type collate "C" = p.type and r.priority = p.priority
               and r.run_at >= p.floor and r.run_at <= (select now from moment)
             order by r.run_at, r.created_at
             limit (select looked_at from given)
         ) due
         where p.priority <= (select priority from reach)
         order by p.priority, due.run_at, due.created_at
         limit (select looked_at from given)
      ) first_due
     group by type, priority, floor
),
chosen as (
    select due.ctid, share.priority, due.run_at, due.created_at
      from share
     cross join lateral (
        select r.ctid, r.run_at, r.created_at
          from {schema}.workflow_run r
         where r.status = 'pending' and r.deleted_at is null
           and r.type collate "C" = share.type and r.priority = share.priority
           and r.run_at >= share.floor and r.run_at <= (select now from moment)
         order by r.run_at, r.created_at
         limit share.n
           for no key update skip locked
     ) due
),
place as (
    select place
      from unnest(array(select ctid from chosen order by priority, run_at, created_at))
           as p (place)
     limit (select n from given)
),
leased as (
    update {schema}.workflow_run r
       set status = 'leased',
           leased_by = :worker_id::text,
           lease_until = (select now from moment) + :lease::float8 * interval '1 second',
           fence = r.fence + 1,
           updated_at = (select now from moment)
      from place
     where r.ctid = place.place
    returning r.id, r.fence, r.type, r.payload, r.headers, r.attempt, r.max_attempts, r.crashes,
              r.priority, r.run_at, r.created_at
),
history as (
    insert into {schema}.workflow_event (workflow_id, event_type, data, created_at)
    select id, 'leased',
           jsonb_build_object('worker_id', :worker_id::text, 'fence', fence, 'attempt', attempt),
           (select now from moment)
      from leased
)
-- The wait is a number, because an instant such as -infinity no driver can read. Rows without an id
-- are the pairs that have due runs: when they are asked for, and when all that was due was locked.
select id::text, fence, type, payload::text, headers::text, attempt, max_attempts,
       extract(epoch from (select now from moment))::float8 - extract(epoch from run_at)::float8,
       crashes, priority, case when :remember::boolean or cardinality(given.types) > 0 then run_at::text end
  from (
    select * from leased
    union all
    select null, null, type, null, null, null, null, null, priority, floor, null
      from share
     where :remember::boolean
        or ((select count(*) from pair) > 1 and not exists (select from chosen))
) found
 cross join given
 order by id is null, priority, run_at, created_at
