-- Part of find.sql: what has not ended, where that is not much, by the indexes of claims and rescues.
       r.ctid = any (array(
            select w.ctid from {schema}.workflow_run w
             where w.status = 'leased' and w.deleted_at is null
               and 'leased' = any (:statuses::text[])
            union all
            select w.ctid from {schema}.workflow_run w
             where w.status = 'pending' and w.deleted_at is null
               and 'pending' = any (:statuses::text[])
       ))
   and (:at::bigint is null or (place.at, r.id) < (:at::bigint, :after_id::uuid))
 order by place.at desc, r.id desc
