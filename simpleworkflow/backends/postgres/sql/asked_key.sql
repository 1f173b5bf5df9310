-- Part of find.sql: the one run with this key.
       r.idempotency_key = :key::text
   and (:at::bigint is null or (place.at, r.id) < (:at::bigint, :after_id::uuid))
