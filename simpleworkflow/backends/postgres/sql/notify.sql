-- Wake the workers that wait for runs.
select pg_notify(:channel::text, '')
