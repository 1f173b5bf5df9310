-- Remove a worker that has stopped.
delete from {schema}.workflow_worker where id = :id::uuid returning true
