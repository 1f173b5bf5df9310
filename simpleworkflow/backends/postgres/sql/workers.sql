-- The workers that announced themselves, the longest at work first.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
)
select id::text, worker_id, hostname, pid, version, patterns, concurrency, started_at, seen_at,
       extract(epoch from moment.now - seen_at)::float8, extract(epoch from clock - seen_at)::float8
  from {schema}.workflow_worker
 cross join moment
 order by started_at, id
