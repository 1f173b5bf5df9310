"""The programs in other languages that share the tables: their schema, and what they send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

TABLES = """
create schema {schema};
create table {schema}.workflow_run (
    id uuid primary key default gen_random_uuid(),
    type text not null,
    payload jsonb not null,
    status text not null default 'pending'
        check (status in ('pending', 'leased', 'succeeded', 'failed', 'cancelled')),
    priority int not null default 100,
    run_at timestamptz not null default now(),
    idempotency_key text unique,
    attempt int not null default 0,
    max_attempts int not null default 3,
    leased_by text,
    lease_until timestamptz,
    last_error text,
    result jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index idx_workflow_run_claim on {schema}.workflow_run
    (status, run_at, priority, created_at) where status = 'pending';
create index idx_workflow_run_type_prefix on {schema}.workflow_run
    (type text_pattern_ops, status, run_at) where status = 'pending';
create index idx_workflow_run_idempotency on {schema}.workflow_run
    (idempotency_key) where idempotency_key is not null;
create index idx_workflow_run_type_status on {schema}.workflow_run (type, status, created_at desc);
create index idx_workflow_run_deleted_at on {schema}.workflow_run (deleted_at)
    where deleted_at is null;
create table {schema}.workflow_event (
    id bigserial primary key,
    workflow_id uuid not null references {schema}.workflow_run (id) on delete cascade,
    event_type text not null check (event_type in ('created', 'leased', 'started', 'heartbeat',
        'succeeded', 'failed', 'retried', 'cancelled')),
    data jsonb,
    created_at timestamptz not null default now()
);
create index idx_workflow_event_workflow_id on {schema}.workflow_event
    (workflow_id, created_at desc);
create index idx_workflow_event_type on {schema}.workflow_event (event_type, created_at desc);
create table {schema}.workflow_schedule (
    id uuid primary key default gen_random_uuid(),
    type text not null,
    payload jsonb not null default '{{}}',
    schedule text not null,
    timezone text not null default 'UTC',
    next_run_at timestamptz not null,
    last_run_at timestamptz,
    enabled bool not null default true,
    priority int not null default 100,
    max_attempts int not null default 3,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
create index idx_workflow_schedule_next on {schema}.workflow_schedule (next_run_at)
    where enabled and deleted_at is null;
create index idx_workflow_schedule_type_ on {schema}.workflow_schedule (type);
create table {schema}.workflow_registry (
    id uuid primary key default gen_random_uuid(),
    workflow_name text not null unique,
    intent_type text not null default 'workflow',
    runtime text not null check (runtime in ('go', 'python')),
    is_enabled bool not null default true,
    description text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz
);
"""

ROWS = """
insert into {schema}.workflow_run
    (type, payload, status, priority, run_at, idempotency_key, attempt, max_attempts, leased_by,
     lease_until, last_error, result, deleted_at)
values
    ('billing.invoice.v1', '{{"n": 1}}', 'pending', 10, now() - interval '1 hour', 'k-1', 0, 3,
     null, null, null, null, null),
    ('billing.invoice.v1', '{{"n": 2, "big": 12345678901234567890.50}}', 'pending', 100,
     now() + interval '1 day', null, 2, 3, null, null, 'boom', null, null),
    ('billing.invoice.v1', '[3]', 'leased', 100, now() - interval '1 hour', 'k-3', 1, 3,
     'go-worker-7', now() + interval '1 hour', 'first try failed', null, null),
    ('billing.invoice.v1', '"4"', 'leased', 100, now() - interval '1 hour', null, 0, 3,
     'go-worker-8', now() - interval '1 minute', null, null, null),
    ('notify.email.v1', 'null', 'succeeded', 5, now() - interval '2 days', 'k-5', 0, 3, null, null,
     null, '{{"sent": true}}', null),
    ('notify.email.v1', '{{}}', 'failed', 5, now() - interval '2 days', null, 3, 3, null, null,
     'gave up', null, null),
    ('notify.email.v1', '{{}}', 'cancelled', 5, '-infinity', null, 0, 3, null, null, null, null,
     null),
    ('notify.email.v1', '{{"deleted": true}}', 'pending', 0, now() - interval '2 days', 'k-8', 0, 3,
     null, null, null, null, now());
insert into {schema}.workflow_event (workflow_id, event_type, data)
    select id, kind, case when kind = 'heartbeat' then null else jsonb_build_object('by', kind) end
      from {schema}.workflow_run
     cross join unnest(array['created', 'leased', 'started', 'heartbeat', 'succeeded', 'failed',
                             'retried', 'cancelled']) as k (kind);
insert into {schema}.workflow_schedule (type, payload, schedule, timezone, next_run_at)
    values ('report.daily.v1', '{{"a": [1]}}', '0 7 * * 1', 'Europe/Berlin', now()),
           ('report.weekly.v1', '{{}}', '0 7 * * 1', 'UTC', now());
insert into {schema}.workflow_registry (workflow_name, runtime) values ('billing.invoice.v1', 'go');
"""

TABLE_NAMES = ("workflow_run", "workflow_event", "workflow_schedule", "workflow_registry")

INSERT = """
insert into {schema}.workflow_run (type, payload, idempotency_key) values (%s, %s, %s)
on conflict (idempotency_key) do nothing returning id::text
"""

CLAIM = """
update {schema}.workflow_run set status = 'leased', leased_by = %(worker)s,
       lease_until = now() + interval '30 seconds', updated_at = now()
 where id = (select id from {schema}.workflow_run
              where status = 'pending' and run_at <= now() and deleted_at is null
                and type like %(pattern)s
              order by priority, created_at limit 1 for update skip locked)
returning id::text
"""

RECLAIM = """
update {schema}.workflow_run
   set leased_by = %(worker)s, lease_until = now() + interval '30 seconds'
 where id = (select id from {schema}.workflow_run
              where status = 'leased' and lease_until < now() and deleted_at is null
                and type like %(pattern)s
              order by priority, created_at limit 1 for update skip locked)
returning id::text
"""

SETTLE = """
update {schema}.workflow_run set status = 'succeeded', result = %(result)s, updated_at = now()
 where id = %(id)s
"""

EXPIRE = """
update {schema}.workflow_run set lease_until = now() - interval '1 second' where id = %s
"""

FAIL = """
update {schema}.workflow_run
   set status = case when attempt + 1 >= max_attempts then 'failed' else 'pending' end,
       attempt = attempt + 1, last_error = %(error)s, leased_by = null, lease_until = null,
       run_at = now() + (attempt + 1) ^ 2 * (1 + 0.1 * random()) * interval '1 minute',
       updated_at = now()
 where id = %(id)s
"""

CANCEL = """
update {schema}.workflow_run set status = 'cancelled', updated_at = now() where id = %s
"""

RECORD = "insert into {schema}.workflow_event (workflow_id, event_type) values (%s, %s)"

FIRE = """
insert into {schema}.workflow_run (type, payload, priority, max_attempts, idempotency_key)
select type, payload, priority, max_attempts,
       'schedule:' || id || ':' || extract(epoch from next_run_at)::bigint
  from {schema}.workflow_schedule where type = %s
on conflict (idempotency_key) do nothing returning id::text
"""


def snapshot(ask: Callable[..., Any], types: list[str] | None = None) -> dict[str, Any]:
    """Every row of every shared table in all the columns that they made, as text, xmin included.

    Args:
        ask: runs a statement with `{schema}` in it and returns its rows.
        types: of runs with their history and of schedules, only those of these types; None for all.
    """
    one_of = "where %(types)s::text[] is null or type = any(%(types)s)"
    chosen = {
        "workflow_run": one_of,
        "workflow_event": f"where workflow_id in (select id from {{schema}}.workflow_run {one_of})",
        "workflow_schedule": one_of,
    }
    found = {}
    for table in TABLE_NAMES:
        columns = [
            name
            for (name,) in ask(
                "select column_name from information_schema.columns where table_name = %s "
                "and table_schema = '{schema}' order by ordinal_position",
                [table],
            )
            if f"\n    {name} " in TABLES
        ]
        listed = ", ".join(f"{name}::text" for name in columns)
        sql = f"select xmin::text, {listed} from {{schema}}.{table} {chosen.get(table, '')}"
        found[table] = (columns, ask(f"{sql} order by id", {"types": types}))
    return found
