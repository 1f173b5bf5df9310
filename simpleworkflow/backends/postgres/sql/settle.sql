-- Write outcomes whose claim is the current one, each with its event; say which were written.
-- One whose row was changed at this very moment may be left out: settle_refused.sql says so.
--
-- The fence stays as it is: a settlement sent again after a lost reply is recognised by it.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
),
{asked}
current as (
    select r.place, a.*
      from asked a
     cross join lateral (
        select r.ctid as place, r.status, r.fence, r.leased_by
          from {schema}.workflow_run r
         where r.id = a.id
        offset 0
     ) r
     where r.status = 'leased' and r.fence = a.fence and r.leased_by = a.worker_id
),
settled as (
    update {schema}.workflow_run r
       set status = a.status,
           attempt = a.attempt,
           run_at = case when a.delay is null then r.run_at
                         else (select now from moment) + a.delay * interval '1 second' end,
           result = coalesce(a.result::jsonb, r.result),
           last_error = coalesce(a.error, r.last_error),
           leased_by = null,
           lease_until = null,
           updated_at = (select now from moment)
      from current a
     where r.ctid = a.place
       -- Asked again, for a row that was changed since.
       and r.status = 'leased' and r.fence = a.fence and r.leased_by = a.worker_id
    returning a.*
),
history as (
    insert into {schema}.workflow_event (workflow_id, event_type, data, created_at)
    select id, event_type,
           -- The first is what mostly happened, made in two thirds of the time.
           case when ran is not null and delay is null and note is null
                then jsonb_build_object(
                    'worker_id', worker_id, 'fence', fence, 'attempt', tried, 'ran', ran)
                else jsonb_strip_nulls(jsonb_build_object(
                    'worker_id', worker_id, 'fence', fence, 'attempt', tried,
                    'ran', ran, 'delay', delay, 'error', note))
           end,
           (select now from moment)
      from settled
)
-- None means all: the usual case, told in one word.
select case when count(*) < (select cardinality(ids) from given) then coalesce(array_agg(ord), '{}') end
  from settled
