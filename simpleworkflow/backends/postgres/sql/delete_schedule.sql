-- Hide a schedule for good.
update {schema}.workflow_schedule
   set deleted_at = coalesce(:now::timestamptz, now()),
       updated_at = coalesce(:now::timestamptz, now())
 where id = :id::uuid and deleted_at is null
returning id
