-- Limit the waits of this session for locks, and nothing else, until this is reset.
select set_config('lock_timeout', :milliseconds::text, false),
       set_config('statement_timeout', '0', false)
