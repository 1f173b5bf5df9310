-- Part of find.sql: the same, of the two statuses that have an index of their own.
       r.status in ('failed', 'cancelled')
   and get_byte(uuid_send(r.id), 6) >> 4 = 7
   and r.id >= (select low from edge)
   and r.id < (select coalesce(least(high, :below::uuid), :below::uuid) from edge)
 order by r.id desc
