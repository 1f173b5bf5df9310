-- Expired leases that nobody took over, by type.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
)
select r.type,
       extract(epoch from (select now from moment))::float8
           - extract(epoch from greatest(min(r.lease_until), timestamptz '0001-01-03Z'))::float8,
       count(*)
  from {schema}.workflow_run r
 where r.status = 'leased' and r.deleted_at is null
   and r.lease_until <= (select now from moment)
 group by r.type
 order by 2 desc, 1
