-- What the server is, and what it was told.
select current_setting('server_version_num')::int / 10000,
       current_setting('transaction_read_only') = 'on',
       current_setting('autovacuum') = 'on' and current_setting('track_counts') = 'on'
           and not exists (
               select from pg_class c cross join pg_options_to_table(c.reloptions) as o
                where c.relnamespace = to_regnamespace('{schema}')
                  and o.option_name = 'autovacuum_enabled' and not o.option_value::boolean
           ),
       array(select name
               from unnest(array['fsync', 'full_page_writes', 'synchronous_commit']) as s (name)
              where current_setting(name) = 'off')
