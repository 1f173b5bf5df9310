-- Whether the schema has the table of runs, from whomever.
select to_regclass('{schema}.workflow_run') is not null
