-- Look at the next runs in the order of their ids, and delete those to which nothing has happened for
-- so long, if they have ended or were deleted; a trigger deletes their events. Return how many went,
-- the last id looked at, if there may be more, and whether it was our turn.
--
-- Ids that begin with the time say how old a run is at most: between the two edges nothing is looked
-- at. Random ids lie there by a chance of one in millions, and only until that time comes.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
),
turn as materialized (
    select pg_try_advisory_xact_lock(:lock::bigint) as is_ours
),
given as materialized (
    select now - :older_than::float8 * interval '1 second' as before, now,
           coalesce(:after::uuid, '00000000-0000-0000-0000-000000000000') as after,
           :limit::bigint as n
      from moment
),
edge as materialized (
    select rpad(lpad(to_hex(greatest(0, 1000 * extract(epoch from before))::bigint), 12, '0'),
                32, '0')::uuid as past,
           rpad(lpad(to_hex((1000 * extract(epoch from now))::bigint), 12, '0'),
                32, '0')::uuid as present
      from given
),
looked_at as materialized (
    (select r.id
       from {schema}.workflow_run r
      where (select is_ours from turn)
        and r.id > (select after from given) and r.id < (select past from edge)
      order by r.id
      limit (select n from given))
    union all
    (select r.id
       from {schema}.workflow_run r
      where (select is_ours from turn)
        and r.id > (select greatest(after, present) from given cross join edge)
      order by r.id
      limit (select n from given))
    limit (select n from given)
),
old as (
    select r.place
      from looked_at l
     cross join lateral (
        select r.ctid as place
          from {schema}.workflow_run r
         where r.id = l.id
           and (r.status = any (:statuses::text[]) or r.deleted_at is not null)
           and greatest(r.updated_at, r.deleted_at) < (select before from given)
           for update skip locked
     ) r
),
gone as (
    delete from {schema}.workflow_run r using old where r.ctid = old.place
    returning r.id
)
select (select count(*) from gone),
       case when count(*) = (select n from given) then max(id::text) end,
       (select is_ours from turn)
  from looked_at
