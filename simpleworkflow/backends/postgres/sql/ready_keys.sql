-- Part of submit.sql: runs with keys. A run whose key's scope has ended (core/keys.py) gives it up
-- first. Producers that do so at once wait here for each other; the later ones then find nothing to
-- be given up, and meet the new run.
--
-- They are created in the order of their keys: producers whose batches have keys in common then wait
-- for each other in one direction, and never in a circle, which the server takes a second to see.
given_up as (
    update {schema}.workflow_run r
       set former_key = r.idempotency_key, idempotency_key = null
     where r.idempotency_key = any (array(select key from asked))
       and (r.key_until <= (select now from moment)
            or (r.key_while_active
                and (r.status in ('succeeded', 'failed', 'cancelled')
                     or r.deleted_at is not null)))
    returning r.id
),
-- The count is never below 0: it is asked for so that all of the above is done before any of this.
ready as (
    select *
      from asked
     where (select count(*) from given_up) >= 0
     order by key collate "C", ord
),
