-- Part of find.sql: ids that begin with the time, back through the primary key.
       get_byte(uuid_send(r.id), 6) >> 4 = 7
   and r.id >= (select low from edge)
   and r.id < (select coalesce(least(high, :below::uuid), :below::uuid) from edge)
 order by r.id desc
