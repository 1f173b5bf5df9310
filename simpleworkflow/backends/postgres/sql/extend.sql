-- Renew the leases that are still held, and say of every one asked about how it stands.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
),
given as materialized (
    select :ids::uuid[] as ids, :worker_ids::text[] as worker_ids, :fences::bigint[] as fences,
           :durations::float8[] as durations
),
asked as (
    select a.*
      from given
     cross join unnest(ids, worker_ids, fences, durations)
           with ordinality as a (id, worker_id, fence, duration, ord)
     limit (select cardinality(ids) from given)
),
-- A row that is locked is mostly being settled, cancelled or rescued right now. Waiting for it could
-- cost all the others their leases.
held as (
    select r.place, a.ord, a.duration
      from asked a
     cross join lateral (
        select r.ctid as place, r.status, r.fence, r.leased_by
          from {schema}.workflow_run r
         where r.id = a.id
           for no key update skip locked
     ) r
     where a.duration > 0
       and r.status = 'leased' and r.fence = a.fence and r.leased_by = a.worker_id
),
renewed as (
    update {schema}.workflow_run r
       set lease_until = greatest(
               r.lease_until, (select now from moment) + held.duration * interval '1 second'),
           updated_at = (select now from moment)
      from held
     where r.ctid = held.place
)
select case
           when r.fence is distinct from a.fence then 'lost'
           when r.status = 'leased' and r.leased_by = a.worker_id then
               case when a.duration = 0 or a.ord in (select ord from held) then 'kept'
                    else 'busy' end
           -- Programs in other languages may empty leased_by when they cancel.
           when r.status = 'cancelled' and coalesce(r.leased_by, a.worker_id) = a.worker_id
               then 'cancelled'
           else 'lost'
       end
  from asked a
  left join lateral (
    select r.fence, r.leased_by, r.status
      from {schema}.workflow_run r where r.id = a.id
    offset 0
  ) r on true
 order by a.ord
