-- Part of find.sql: all other ids, in their own index.
       (get_byte(uuid_send(r.id), 6) >> 4 <> 7 or r.id >= '03bb2cc3-d800-0000-0000-000000000000')
   and (r.created_at, r.id)
       < (coalesce(:others_before::timestamptz, 'infinity'), :others_below::uuid)
 order by r.created_at desc, r.id desc
