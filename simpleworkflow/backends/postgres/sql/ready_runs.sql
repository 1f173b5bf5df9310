-- Part of submit.sql: runs without keys, for which nothing is to be done before.
ready as (
    select * from asked
),
