-- Make failed runs pending and due, at attempt 0; return the place in the list of each that exists,
-- where it stands, and whether this did it. One that was changed at this very moment says "again".
--
-- The fence grows: no outcome of an earlier claim, sent late or again, is taken for one of now.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
),
given as materialized (
    select :ids::uuid[] as ids
),
-- In the order of ids, so that two of these cannot deadlock.
asked as (
    select a.id, a.ord
      from given
     cross join unnest(ids) with ordinality as a (id, ord)
     order by a.id
     limit (select cardinality(ids) from given)
),
found as (
    select r.place, r.status, r.attempt, a.id, a.ord
      from asked a
     cross join lateral (
        select r.ctid as place, r.status, r.attempt, r.deleted_at
          from {schema}.workflow_run r
         where r.id = a.id
        offset 0
     ) r
     where r.deleted_at is null
),
revived as (
    update {schema}.workflow_run r
       set status = 'pending',
           attempt = 0,
           fence = r.fence + 1,
           run_at = (select now from moment),
           leased_by = null,
           lease_until = null,
           updated_at = (select now from moment)
      from found
     where r.ctid = found.place
       and r.status = 'failed' and r.deleted_at is null and found.status = 'failed'
    returning r.id, found.attempt
),
history as (
    insert into {schema}.workflow_event (workflow_id, event_type, data, created_at)
    select id, 'retried', jsonb_build_object('by', 'operator', 'attempt', attempt),
           (select now from moment)
      from revived
)
select ord - 1,
       case when id in (select id from revived) then 'pending'
            when status = 'failed' then 'again'
            else status end,
       id in (select id from revived)
  from found
