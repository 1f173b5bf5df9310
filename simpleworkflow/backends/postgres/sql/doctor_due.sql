-- How long the first due run of each type has been waiting.
--
-- Walks the index of pending runs from one (type, priority) pair to the next, as a claim does, so that
-- it looks at one run of each, however many wait.
with recursive
moment as (
    select coalesce(:now::timestamptz, now()) as now
),
pair (type, priority) as (
    (select r.type, r.priority
       from {schema}.workflow_run r
      where r.status = 'pending' and r.deleted_at is null
      order by r.type collate "C", r.priority
      limit 1)
    union all
    select further.type, further.priority
      from pair
     cross join lateral (
        select r.type, r.priority
          from {schema}.workflow_run r
         where r.status = 'pending' and r.deleted_at is null
           and (r.type collate "C", r.priority) > (pair.type collate "C", pair.priority)
         order by r.type collate "C", r.priority
         limit 1
     ) further
)
select pair.type,
       extract(epoch from (select now from moment))::float8
           - extract(epoch from greatest(min(first.run_at), timestamptz '0001-01-03Z'))::float8
  from pair
 cross join lateral (
    select r.run_at
      from {schema}.workflow_run r
     where r.status = 'pending' and r.deleted_at is null
       and r.type collate "C" = pair.type collate "C" and r.priority = pair.priority
     order by r.run_at
     limit 1
 ) first
 where first.run_at <= (select now from moment)
 group by pair.type
 order by 2 desc, 1
