-- How many runs of each type succeeded and failed lately, counted in the newest events; and for how
-- many seconds back these tell all, unless it is for longer than an hour.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
),
newest as materialized (
    select workflow_id, event_type, created_at
      from {schema}.workflow_event
     order by id desc
     limit :limit::bigint
),
seen as materialized (
    select case when count(*) = :limit::bigint
                then extract(epoch from (select now from moment) - min(created_at))::float8
           end as seconds
      from newest
),
ended as materialized (
    select workflow_id, event_type, (select now from moment) - created_at as age
      from newest
     where event_type in ('succeeded', 'failed')
       and created_at > (select now from moment) - interval '1 hour'
)
select r.type, count(*) filter (where e.age < interval '1 minute'), count(*),
       count(*) filter (where e.event_type = 'failed'),
       (select seconds from seen)
  from ended e
 cross join lateral (
    select r.type from {schema}.workflow_run r where r.id = e.workflow_id offset 0
 ) r
 group by r.type
