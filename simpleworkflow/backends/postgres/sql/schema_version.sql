-- The newest migration that was applied here.
select coalesce(max(version), 0) from {schema}.workflow_migration
