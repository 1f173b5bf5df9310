-- Cancel runs that have not ended; return the place in the list and the status of each that exists.
-- One whose row was changed at this very moment is answered "again".
--
-- leased_by stays, so that the worker's next heartbeat is answered "cancelled" and not "lost".
with moment as (
    select coalesce(:now::timestamptz, now()) as now
),
given as materialized (
    select :ids::uuid[] as ids
),
-- In the order of ids, so that two cancels of the same runs cannot deadlock.
asked as (
    select a.id, a.ord
      from given
     cross join unnest(ids) with ordinality as a (id, ord)
     order by a.id
     limit (select cardinality(ids) from given)
),
found as (
    select r.place, r.status, a.id, a.ord
      from asked a
     cross join lateral (
        select r.ctid as place, r.status, r.deleted_at
          from {schema}.workflow_run r
         where r.id = a.id
        offset 0
     ) r
     where r.deleted_at is null
),
cancelled as (
    update {schema}.workflow_run r
       set status = 'cancelled',
           lease_until = null,
           updated_at = (select now from moment)
      from found
     where r.ctid = found.place
       and r.status in ('pending', 'leased') and found.status in ('pending', 'leased')
    returning r.id, case when r.leased_by is null then 'pending' else 'leased' end as was
),
history as (
    insert into {schema}.workflow_event (workflow_id, event_type, data, created_at)
    select id, 'cancelled', jsonb_build_object('was', was), (select now from moment)
      from cancelled
)
select ord - 1,
       case when id in (select id from cancelled) then 'cancelled'
            when status in ('pending', 'leased') then 'again'
            else status end
  from found
