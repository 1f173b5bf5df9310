-- Say why outcomes were not written. What comes after a cancel is kept in the history, once:
-- the first time clears leased_by, by which a repeat is known.
with moment as (
    select coalesce(:now::timestamptz, now()) as now
),
{asked}
current as (
    select r.place, r.status as was, r.fence as newest_fence, r.leased_by, r.attempt as attempts,
           a.*
      from asked a
      left join lateral (
        select r.ctid as place, r.status, r.fence, r.leased_by, r.attempt
          from {schema}.workflow_run r
         where r.id = a.id
        offset 0
     ) r on true
),
discarded as (
    update {schema}.workflow_run r
       set leased_by = null,
           updated_at = (select now from moment)
      from current a
     where r.ctid = a.place
       and a.was = 'cancelled' and a.newest_fence = a.fence and r.leased_by = a.worker_id
    returning a.*
),
history as (
    insert into {schema}.workflow_event (workflow_id, event_type, data, created_at)
    select id, 'discarded',
           jsonb_strip_nulls(jsonb_build_object(
               'worker_id', worker_id, 'fence', fence, 'attempt', tried,
               'outcome', event_type, 'error', note))
           || case when result is null then '{}'
                   else jsonb_build_object('result', result::jsonb) end,
           (select now from moment)
      from discarded
)
select case
           when newest_fence is distinct from fence then 'lost'
           when was = status and attempts = attempt and leased_by is null then 'applied'
           when was = 'cancelled' and coalesce(leased_by, worker_id) = worker_id then 'cancelled'
           when was = 'leased' and leased_by = worker_id then 'again'
           else 'lost'
       end
  from current
 order by ord
