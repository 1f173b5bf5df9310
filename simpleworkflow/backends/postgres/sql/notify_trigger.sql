-- How much there is of the optional trigger: 2 with its function, 0 without either. A disabled one is
-- as good as none.
select (to_regproc('{schema}.simpleworkflow_notify') is not null)::int
       + (select count(*) from pg_trigger
           where tgrelid = to_regclass('{schema}.workflow_run')
             and tgname = 'simpleworkflow_notify' and tgenabled <> 'D')
