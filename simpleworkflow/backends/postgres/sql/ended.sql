-- Which of these runs nobody needs to wait for any longer: they have ended, or are not there.
select a.id::text
  from unnest(:ids::uuid[]) as a (id)
  left join lateral (
    select r.status, r.deleted_at
      from {schema}.workflow_run r
     where r.id = a.id
    offset 0
  ) r on true
 where r.status is null
    or r.status in ('succeeded', 'failed', 'cancelled')
    or r.deleted_at is not null
