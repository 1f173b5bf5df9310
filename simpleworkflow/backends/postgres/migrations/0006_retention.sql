-- What lists of runs need beside the primary key. Ids that begin with the time (UUID version 7) are
-- listed by it; an index on the age of every run would be paid for by each of its moves.
-- What an attempt that was broken off has left would be taken for the indexes below.
do $$
declare
    broken text;
begin
    for broken in
        select indexrelid::regclass from pg_index
         where indexrelid in (to_regclass('{schema}.idx_workflow_run_others'),
                              to_regclass('{schema}.idx_workflow_run_unlucky'))
           and not indisvalid
    loop
        execute format('drop index %s', broken);
    end loop;
end
$$;

-- step: concurrently
-- Runs of other programs, whose ids are random; empty where there are none. Times end in 2100: see
-- core/admin.py.
create index concurrently if not exists idx_workflow_run_others
    on {schema}.workflow_run (created_at, id)
    where (get_byte(uuid_send(id), 6) >> 4 <> 7 or id >= '03bb2cc3-d800-0000-0000-000000000000')
      and deleted_at is null;

-- step: concurrently
-- What operators look for first, and what few runs ever are.
create index concurrently if not exists idx_workflow_run_unlucky
    on {schema}.workflow_run (id)
    where status in ('failed', 'cancelled') and deleted_at is null;

-- step
