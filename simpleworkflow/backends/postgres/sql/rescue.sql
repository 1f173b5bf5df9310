-- Take over expired leases of the route, the longest expired first, and record who lost them.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
),
given as materialized (
    select :lows::text[] as lows, :highs::text[] as highs, :limit::bigint as n
),
span as (
    select s.low, s.high from given cross join unnest(lows, highs) as s (low, high)
),
expired as (
    select r.ctid, r.leased_by
      from {schema}.workflow_run r
     where r.status = 'leased' and r.deleted_at is null
       and r.lease_until <= (select now from moment)
       and exists (
            select from span
             where r.type collate "C" >= span.low and r.type collate "C" < span.high
       )
     order by r.lease_until
     limit (select n from given)
       for no key update skip locked
),
place as (
    select place, lost_by
      from unnest(array(select ctid from expired), array(select leased_by from expired))
           as p (place, lost_by)
     limit (select n from given)
),
rescued as (
    update {schema}.workflow_run r
       set leased_by = :worker_id::text,
           lease_until = (select now from moment) + :lease::float8 * interval '1 second',
           fence = r.fence + 1,
           crashes = r.crashes + 1,
           updated_at = (select now from moment)
      from place
     where r.ctid = place.place
    returning r.id, r.type, r.payload, r.headers, r.attempt, r.max_attempts, r.crashes, r.fence,
              r.run_at, place.lost_by
),
history as (
    insert into {schema}.workflow_event (workflow_id, event_type, data, created_at)
    select id, 'rescued',
           jsonb_build_object('worker_id', :worker_id::text, 'lost_by', lost_by,
                              'fence', fence, 'attempt', attempt),
           (select now from moment)
      from rescued
)
select id::text, fence, type, payload::text, headers::text, attempt, max_attempts,
       extract(epoch from (select now from moment))::float8 - extract(epoch from run_at)::float8,
       crashes, lost_by
  from rescued
