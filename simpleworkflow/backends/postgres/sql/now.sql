-- The time that counts.
select coalesce(:now::timestamptz, now())
