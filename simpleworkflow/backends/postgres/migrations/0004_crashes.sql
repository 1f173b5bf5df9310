-- In how many crashes of a worker a run was: such a run is not kept waiting beside others again.
alter table {schema}.workflow_run add column if not exists crashes int not null default 0;
