"""Data are never run, and SQL is never made of strings: checked by reading the code of the package.

SQL is in .sql files. What is filled in there, or put together in Python all the same, is listed
below with the reason why nobody's data can get into it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import simpleworkflow

ROOT = Path(simpleworkflow.__file__).parent

RUNS_DATA = {
    "cloudpickle", "code", "codeop", "cPickle", "dill", "jsonpickle", "marshal", "pickle",
    "pickletools", "runpy", "shelve",
}  # fmt: skip
"""Modules that make code or objects of data."""

RUNS_TEXT = {
    "builtins.__import__", "builtins.compile", "builtins.eval", "builtins.exec",
    "os.popen", "os.system", "pty.spawn", "subprocess.getoutput", "subprocess.getstatusoutput",
    "yaml.full_load", "yaml.load", "yaml.load_all", "yaml.unsafe_load",
}  # fmt: skip
"""What runs a text, as Python, as objects, or in a shell."""

BUILT_IN = {"__import__", "compile", "eval", "exec"}

SENDS_SQL = {"execute", "executemany", "fetch", "run_script"}

IS_SQL = re.compile(
    r"\b(insert\s+into|delete\s+from|select\s.*\sfrom|update\s+\S+\s+set|truncate\s+\S"
    r"|(create|alter|drop)\s+(or\s+replace\s+)?"
    r"(database|extension|function|index|role|schema|sequence|table|trigger|type|user|view)"
    r"|(grant|revoke)\s.*\s(on|to|from)\s)"
    r"|^\s*(select|with|set|listen|unlisten|notify|copy|call|do|lock)\s",
    re.IGNORECASE | re.DOTALL,
)

A_PLACE = re.compile(r"\{\w+\}")
"""What stands in a .sql file where something is filled in."""

ALLOWED = {
    "backends/postgres/statements.py load": "a schema, validated by url.read_schema and quoted",
    "backends/postgres/migrate.py Migration.sql": "the same schema, and the number and the name of "
    "a file of ours, which _FILE_NAME holds to letters and digits",
    "backends/postgres/migrate.py _missing_switch": "the same schema, and a channel, below",
    "backends/postgres/steps.py ": "a number that stands there",
    "backends/postgres/doctor.py _one_line": "the same schema, into SQL that is shown and not run",
    "backends/postgres/grants.py grants": "the same schema, and what _rights has made",
    "backends/postgres/grants.py _rights": "the same schema, and a role, validated and quoted",
    "backends/postgres/store.py PostgresStore._wait_on": "a channel's name, which is a number in "
    "hexadecimal behind a word of ours; LISTEN takes no parameter",
    "testing/plugin.py simpleworkflow_postgres_url": "a schema named here after a new UUID",
}
"""The places that put SQL together, and why each is safe."""


class Reader(ast.NodeVisitor):
    """Finds what breaks a rule in one module.

    Attributes:
        runs: what runs data or text, as "line: code".
        builds: the functions that put SQL together, each with its lines.
    """

    def __init__(self) -> None:
        """Nothing is read yet."""
        self.runs: list[str] = []
        self.builds: dict[str, list[int]] = {}
        self._inside: list[str] = []
        self._names: dict[str, str] = {name: f"builtins.{name}" for name in BUILT_IN}

    def read(self, source: str) -> Reader:
        """Read a module and return self."""
        self.visit(ast.parse(source))
        return self

    # Where we are, and what names mean there

    def _enter(self, node: ast.FunctionDef) -> None:
        self._inside.append(node.name)
        self.generic_visit(node)
        self._inside.pop()

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _enter

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._imported(node, alias.name, alias.asname or alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            self._imported(node, f"{node.module}.{alias.name}", alias.asname or alias.name)

    def _imported(self, node: ast.AST, full: str, name: str) -> None:
        self._names[name] = full
        if full.partition(".")[0] in RUNS_DATA or full in RUNS_TEXT:
            self._runs(node)

    def _full(self, node: ast.AST) -> str:
        """The whole name behind a name or an attribute, "" for anything else."""
        if isinstance(node, ast.Name):
            return self._names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            return f"{self._full(node.value)}.{node.attr}"
        return ""

    # What runs

    def visit_Name(self, node: ast.Name) -> None:
        if self._full(node) in RUNS_TEXT:
            self._runs(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if self._full(node) in RUNS_TEXT:
            self._runs(node)
        self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg == "shell" and not is_false(node.value):
            self._runs(node)
        self.generic_visit(node)

    def _runs(self, node: ast.AST) -> None:
        self.runs.append(f"{getattr(node, 'lineno', 0)}: {ast.unparse(node)}")

    # What builds SQL

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        if any(isinstance(part, ast.FormattedValue) for part in node.values) and is_sql(node):
            self._builds(node)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, (ast.Add, ast.Mod)) and (is_sql(node.left) or is_sql(node.right)):
            self._builds(node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            text, method = node.func.value, node.func.attr
            fills = method == "replace" and node.args and is_a_place(node.args[0])
            changes = method in {"format", "format_map", "join", "replace"} and is_sql(text)
            sends = method in SENDS_SQL and node.args and is_put_together(node.args[0])
            if fills or changes or sends:
                self._builds(node)
        self.generic_visit(node)

    def _builds(self, node: ast.AST) -> None:
        self.builds.setdefault(".".join(self._inside), []).append(getattr(node, "lineno", 0))


def is_false(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def is_a_place(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and bool(A_PLACE.fullmatch(str(node.value)))


def is_sql(node: ast.AST) -> bool:
    """Whether a text, or the fixed parts of one that is put together, read like SQL."""
    if isinstance(node, ast.JoinedStr):
        return bool(IS_SQL.search("".join(map(fixed, node.values))))
    return isinstance(node, ast.Constant) and bool(IS_SQL.search(fixed(node)))


def fixed(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
        return node.value if isinstance(node.value, str) else node.value.decode(errors="replace")
    return "x"


def is_put_together(node: ast.AST) -> bool:
    """Whether a text is made in the very place that sends it."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        is_made = node.func.attr in {"format", "format_map", "join", "replace"}
        return is_made or (node.func.attr == "encode" and is_put_together(node.func.value))
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    return isinstance(node, ast.BinOp)


def readers() -> Iterator[tuple[str, Reader]]:
    """Each module by its place below the package, read."""
    for path in sorted(ROOT.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        yield path.relative_to(ROOT).as_posix(), Reader().read(source)


def test_nothing_makes_code_or_objects_of_data() -> None:
    """No pickle, no eval, no shell: what is in a table stays data."""
    assert {place: reader.runs for place, reader in readers() if reader.runs} == {}


def test_sql_is_put_together_only_where_that_is_safe() -> None:
    """In the listed places and nowhere else; and no place is listed that does so no more."""
    found = {f"{place} {name}" for place, reader in readers() for name in reader.builds}
    assert found == set(ALLOWED)


def test_statements_are_filled_with_quoted_schemas_only() -> None:
    """What `statements.load` is given is the property that quotes."""
    calls = [
        node
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "statements.load"
    ]
    assert calls
    assert {ast.unparse(call.args[1]).rpartition(".")[2] for call in calls} == {"quoted_schema"}


@pytest.mark.parametrize(
    ("source", "is_fine"),
    [
        ("import pickle", False),
        ("import pickle as json", False),
        ("from marshal import loads", False),
        ("def f():\n    import shelve", False),
        ("import os\nos.system('true')", False),
        ("import os as o\no.system('true')", False),
        ("from os import system as s", False),
        ("import subprocess\nsubprocess.run(x, shell=True)", False),
        ("import subprocess as s\ns.run(x, shell=is_shell)", False),
        ("import subprocess\nsubprocess.run(x, shell=False)", True),
        ("import subprocess\nsubprocess.getoutput(x)", False),
        ("import subprocess\nsubprocess.run(['true'])", True),
        ("import yaml\nyaml.load(x)", False),
        ("import yaml\nyaml.safe_load(x)", True),
        ("eval(x)", False),
        ("list(map(eval, x))", False),
        ("import builtins\nbuiltins.exec(x)", False),
        ("compile(x, '', 'exec')", False),
        ("import re\nre.compile(x)", True),
        ("__import__(x)", False),
        ("import json\njson.loads(x)", True),
        ("session.execute(x)", True),
    ],
)
def test_the_first_rule_itself(source: str, is_fine: bool) -> None:
    """A check that nothing can fail proves nothing."""
    assert (Reader().read(source).runs == []) is is_fine


@pytest.mark.parametrize(
    ("source", "is_fine"),
    [
        ("c.fetch(f'select * from {t}', {})", False),
        ("sql = f'select * from {t}'", False),
        ("sql = f'SELECT a\\n  FROM {t}'", False),
        ("sql = f'insert into {t} values (1)'", False),
        ("sql = f'update {t} set a = 1'", False),
        ("sql = f'drop schema {s} cascade'.encode()", False),
        ("sql = b'delete from t where id = %s' % x", False),
        ("sql = 'delete from t where id = %s' % x", False),
        ("sql = 'delete from ' + t", False),
        ("sql = 'select a from t where ' + 'b = ' + x", False),
        ("sql = 'select a from {}'.format(t)", False),
        ("sql = 'grant select on {t} to {r}'.replace('{t}', t)", False),
        ("sql = template.replace('{schema}', s)", False),
        ("c.run_script(f'listen {channel}')", False),
        ("c.run_script(f'{verb} {thing}')", False),
        ("c.execute(verb + thing)", False),
        ("c.execute((verb + thing).encode())", False),
        ("c.execute(verb.replace('a', b))", False),
        ("c.execute(' '.join(words))", False),
        ("c.fetch('select a from t where b = :b', {'b': b})", True),
        ("c.fetch('select a ' 'from t', {})", True),
        ("c.fetch(statements.load('get', schema), given)", True),
        ("raise UsageError(f'update the tables of {place} first, then select one')", True),
        ("words = f'the {thing} was created from {other}'", True),
        ("words = 'a' + b", True),
        ("total = 1 + n % 2", True),
    ],
)
def test_the_second_rule_itself(source: str, is_fine: bool) -> None:
    """A check that nothing can fail proves nothing."""
    assert (Reader().read(source).builds == {}) is is_fine
