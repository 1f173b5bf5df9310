"""Grants: the least rights of each role, as SQL that the owner of the tables reviews and runs."""

from __future__ import annotations

from simpleworkflow.backends.postgres.url import DEFAULT_SCHEMA, read_schema
from simpleworkflow.core.errors import UsageError

_LONGEST = 63
"""Bytes; PostgreSQL cuts longer names, and would grant to another role than was named."""

_NO_ROLES = ("public", "none")
"""PostgreSQL takes them for everybody and for nobody, even in quotes."""


def grants(
    schema: str = DEFAULT_SCHEMA,
    *,
    producer: str | None = None,
    worker: str | None = None,
    operator: str | None = None,
) -> str:
    """Return the SQL that gives a producer, a worker and an operator the least rights they need.

    It creates the roles that do not exist, adds rights, takes none away, and may be run again. The
    owner of the tables runs it, after `migrate`. Nothing is connected here.

    Args:
        schema: where the tables are; `workflow` by default.
        producer: the role that submits runs, follows and cancels them.
        worker: the role that executes runs.
        operator: the role that reads everything, cancels, sets back and deletes runs, and manages
            schedules.

    A role that is not named is left out. When none is, it is all three, by the names of the schema
    and the part, such as `workflow_producer`. One role may be named for several parts.

    Raises:
        UsageError: the schema or a role cannot have its name.
    """
    name = read_schema(schema, f"schema={schema!r}")
    quoted_schema = f'"{name}"'
    asked = {"producer": producer, "worker": worker, "operator": operator}
    named = {part: role for part, role in asked.items() if role is not None}
    roles = named or {part: f"{name}_{part}" for part in asked}
    rights = [_rights(part, quoted_schema, _quoted(part, role)) for part, role in roles.items()]
    return _read("all").replace("{schema}", quoted_schema).replace("{roles}", "".join(rights))


def _rights(part: str, quoted_schema: str, quoted_role: str) -> str:
    source = _read(part).replace("{each}", _read("each"))
    # The role comes last, for its name may be of any letters, and always where an identifier may
    # stand, so that one way of quoting is enough.
    return source.replace("{schema}", quoted_schema).replace("{role}", quoted_role)


def _read(name: str) -> str:
    # Imported here: it takes a sixth of the time of `import simpleworkflow`.
    from importlib.resources import files

    return files(__package__).joinpath("roles", f"{name}.sql").read_text(encoding="utf-8")


def _quoted(part: str, role: str) -> str:
    is_one = role.isprintable() and 1 <= len(role.encode()) <= _LONGEST
    if not is_one or role.startswith("pg_") or role in _NO_ROLES:
        raise UsageError(
            f"{part}={role!r} must name a role: 1 to {_LONGEST} bytes of printable characters, not "
            "starting with 'pg_', and neither 'public' nor 'none'"
        )
    doubled = role.replace('"', '""')
    return f'"{doubled}"'
