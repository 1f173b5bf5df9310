drop trigger if exists simpleworkflow_notify on {schema}.workflow_run;
drop function if exists {schema}.simpleworkflow_notify();
