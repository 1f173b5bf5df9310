-- Connections in use, those that ordinary roles may have, and our own.
select (select sum(numbackends)::int from pg_stat_database),
       current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int,
       (select count(*)::int from pg_stat_activity where application_name = :name::text)
