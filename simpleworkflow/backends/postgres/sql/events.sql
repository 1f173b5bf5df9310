-- The history of one run, oldest first. Writers in other languages may leave data empty.
select id, workflow_id::text, event_type, coalesce(data, '{}')::text, created_at
  from {schema}.workflow_event
 where workflow_id = :id::uuid
 order by id
