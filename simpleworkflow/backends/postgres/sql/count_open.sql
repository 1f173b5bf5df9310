-- How many runs of these statuses have not ended, up to a limit for each.
select (select count(*)
          from (select from {schema}.workflow_run
                 where status = 'leased' and deleted_at is null
                   and 'leased' = any (:statuses::text[])
                 limit :limit::bigint) leased)
     + (select count(*)
          from (select from {schema}.workflow_run
                 where status = 'pending' and deleted_at is null
                   and 'pending' = any (:statuses::text[])
                 limit :limit::bigint) pending)
