-- Note that a worker is at work now, and remove others that were silent for too long.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
),
forgotten as (
    delete from {schema}.workflow_worker
     where id in (
        select w.id
          from {schema}.workflow_worker w
         where w.seen_at < (select now from moment) - :kept_for::float8 * interval '1 second'
           and w.id <> :id::uuid
           -- Others that announce themselves now remove the same ones.
           for update skip locked
     )
)
insert into {schema}.workflow_worker
       (id, worker_id, hostname, pid, version, patterns, concurrency, started_at, seen_at, clock)
select :id::uuid, :worker_id::text, :hostname::text, :pid::int, :version::text, :patterns::text[],
       :concurrency::int, moment.now, moment.now, :clock::timestamptz
  from moment
    on conflict (id) do update
   set patterns = excluded.patterns, seen_at = excluded.seen_at, clock = excluded.clock
returning true
