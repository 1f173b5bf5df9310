-- Hide runs that have ended; return the place in the list of each that exists, where it stands, and
-- whether this did it. One that was changed at this very moment says "again".
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
hidden as (
    update {schema}.workflow_run r
       set deleted_at = (select now from moment),
           updated_at = (select now from moment)
      from found
     where r.ctid = found.place
       and r.status = any (:statuses::text[]) and r.deleted_at is null
       and found.status = any (:statuses::text[])
    returning r.id
)
select ord - 1,
       case when status = any (:statuses::text[]) and id not in (select id from hidden) then 'again'
            else status end,
       id in (select id from hidden)
  from found
