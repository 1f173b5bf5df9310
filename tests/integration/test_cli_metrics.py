"""`simpleworkflow worker --metrics-port`: what real worker processes serve of themselves."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from programs import Program
from test_cli_worker import WORK, below, has, needs_watchfiles, refused, worker

from simpleworkflow import Client, migrate

SERVED = re.compile(r"metrics are served at http://(\S+):(\d+)/metrics")
NOBODY = "postgresql://anna:s3cret@127.0.0.1:1/shop"
"""Nobody listens there; it is not asked before workers start."""

SECOND_WAITS = """
for turn in ("looked", "first", "second"):
    try:
        Path(turn).mkdir()
        break
    except FileExistsError:
        pass
if turn == "second":
    until(Path("let-start").exists)
"""
"""Of two worker processes, the second to come waits before it makes its poller; a look comes first.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The current folder of workers, with a module for them, and one for what is temporary."""
    (tmp_path / "work.py").write_text(WORK)
    (tmp_path / "temporary").mkdir()
    return tmp_path


@pytest.fixture
def url(one_database_url: str) -> str:
    """A database with tables."""
    migrate(one_database_url)
    return one_database_url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """A producer."""
    with Client(url) as client:
        yield client


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder is given but by a test."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)


class Asked:
    """What a worker serves, at the port that its log tells."""

    def __init__(self, program: Program) -> None:
        self._program = program
        program.wait_until(lambda: SERVED.search(program.output))
        found = SERVED.search(program.output)
        self.host, self.port = found[1].strip("[]"), int(found[2])

    def page(self, path: str) -> tuple[int, str]:
        """The status and the text of a page."""
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=60)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def value(self, name: str, **labels: str) -> list[float]:
        """The values of the series of this name that have these labels, and maybe others."""
        found = re.findall(rf"^workflow_{name}{{(.*)}} (\S+)$", self.page("/metrics")[1], re.M)
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return [float(value) for has, value in found if all(each in has for each in wanted)]

    def until(self, is_so: Callable[[], bool]) -> None:
        """Look until it is so."""
        self._program.wait_until(is_so)

    def until_ready(self, *names: str) -> None:
        """Look until workers of these names are ready, and no others."""
        self.until(lambda: self.page("/readyz") == (200, f"ready: {', '.join(names)}\n"))


def left_over(folder: Path) -> list[str]:
    """What is in the folder for what is temporary."""
    return sorted(path.name for path in (folder / "temporary").iterdir())


def serving(folder: Path, url: str, *arguments: str, **environment: str):
    """A worker that serves metrics at a free port."""
    temporary = {"TMPDIR": str(folder / "temporary")}
    return worker(folder, url, "--metrics-port", "0", *arguments, **temporary, **environment)


def test_one_process_serves_its_metrics(folder, url, client):
    """While it works; at 127.0.0.1 alone, and no longer than it works."""
    with serving(folder, url) as program:
        asked = Asked(program)
        asked.until_ready("shop")
        assert asked.page("/healthz") == (200, "alive\n")
        jobs = [client.submit("job.v1", {}).id for _ in range(3)]
        program.wait_until(has(client, "succeeded", *jobs))
        asked.until(lambda: asked.value("run_completed_total", status="succeeded") == [0, 3, 0])
        assert asked.value("run_claimed_total", type="job.v1") == [3]
        assert asked.value("worker_capacity", worker_id="shop") == [1]
        [at] = [
            one.laddr
            for one in psutil.Process(program.process.pid).net_connections("tcp")
            if one.status == psutil.CONN_LISTEN
        ]
        assert at == ("127.0.0.1", asked.port)
        assert program.end(signal.SIGTERM) == 0
        with pytest.raises(ConnectionRefusedError):
            asked.page("/healthz")
    assert left_over(folder) == []


def test_several_processes_serve_what_all_of_them_count(folder, url, client):
    """At one port; they are ready when each of them is."""
    (folder / "work.py").write_text(WORK + SECOND_WAITS)
    with serving(folder, url, "--processes", "2") as program:
        asked = Asked(program)
        asked.until(lambda: asked.page("/readyz") == (503, "1 of 2 workers are not at work\n"))
        assert asked.page("/healthz") == (200, "alive\n")
        (folder / "let-start").touch()
        asked.until_ready("shop-1", "shop-2")
        met = [client.submit("meet.v1", 2).id for _ in range(2)]
        program.wait_until(has(client, "succeeded", *met))
        asked.until(
            lambda: asked.value("run_execution_duration_seconds_count", type="meet.%") == [2]
        )
        assert asked.value("run_completed_total", type="meet.%", status="succeeded") == [2]
        for name in ("shop-1", "shop-2"):
            assert asked.value("worker_capacity", worker_id=name) == [1]
            assert asked.value("worker_settle_batch_size_count", worker_id=name) != []
        assert program.end(signal.SIGTERM) == 0
    assert left_over(folder) == []


def test_a_worker_that_dies_counts_on_where_it_was(folder, url, client):
    """What it was is told no longer, until there is another one in its place; nothing is left."""
    with serving(folder, url, "--processes", "2") as program:
        asked = Asked(program)
        asked.until_ready("shop-1", "shop-2")
        met = [client.submit("meet.v1", 2).id for _ in range(2)]
        program.wait_until(has(client, "succeeded", *met))
        asked.until(
            lambda: asked.value("run_execution_duration_seconds_count", type="meet.%") == [2]
        )
        [metrics] = left_over(folder)
        files = {path.name for path in (folder / "temporary" / metrics).iterdir()}
        os.kill(below(program.process.pid)[0].pid, signal.SIGKILL)
        asked.until(lambda: asked.page("/readyz") == (503, "1 of 2 workers are not at work\n"))
        assert asked.value("worker_capacity") == [1]
        assert asked.value("run_completed_total", type="meet.%", status="succeeded") == [2]
        asked.until_ready("shop-1", "shop-2")
        assert asked.value("worker_capacity") == [1, 1]
        for path in folder.glob("*.here"):
            path.unlink()
        met = [client.submit("meet.v1", 2).id for _ in range(2)]
        program.wait_until(has(client, "succeeded", *met))
        asked.until(
            lambda: asked.value("run_execution_duration_seconds_count", type="meet.%") == [4]
        )
        assert asked.value("run_completed_total", type="meet.%", status="succeeded") == [4]
        # A worker that dies again and again does not fill the disk.
        assert {path.name for path in (folder / "temporary" / metrics).iterdir()} == files
        assert program.end(signal.SIGTERM) == 0
    assert left_over(folder) == []


def test_a_folder_of_the_users_is_left_to_the_user(folder, url, client):
    """Its files are of this supervisor's processes alone: others may count in it too."""
    (folder / "metrics").mkdir()
    own = {"PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics")}
    with serving(folder, url, "--processes", "2", **own) as program:
        asked = Asked(program)
        asked.until_ready("shop-1", "shop-2")
        assert program.end(signal.SIGTERM) == 0
    assert left_over(folder) == []
    counted = {path.stem.rpartition("_")[2] for path in (folder / "metrics").glob("counter_*.db")}
    pid = program.process.pid
    assert counted == {f"{pid}-1", f"{pid}-2"}
    assert list((folder / "metrics").glob("gauge_live*")) == []


OWN = """
from prometheus_client import CollectorRegistry
from simpleworkflow import PrometheusMetrics

poller = poller.with_options({}=PrometheusMetrics(CollectorRegistry()){})
"""

OTHER = """
from simpleworkflow import MetricsCollector

class Mine(MetricsCollector):
    def __call__(self, event):
        Path("mine").touch()

poller = poller.with_options(metrics=Mine())
"""


@pytest.mark.parametrize(
    ("processes", "source"),
    [
        ("1", OWN.format("metrics", "")),
        ("2", OWN.format("metrics", "")),
        ("1", OWN.format("observers", ",").replace("=P", "=(P").replace(",)", ",))")),
        ("1", OTHER),
    ],
    ids=["own", "own of two", "own observer", "other"],
)
def test_a_poller_counts_as_its_module_has_it(folder, url, client, processes, source):
    """Once, by a collector that it has, whatever its registry is; or by a new one beside others."""
    (folder / "work.py").write_text(WORK + source)
    with serving(folder, url, "--processes", processes) as program:
        asked = Asked(program)
        program.wait_until(has(client, "succeeded", client.submit("job.v1", {}).id))
        done = {"type": "job.v1", "status": "succeeded"}
        asked.until(lambda: asked.value("run_completed_total", **done) == [1])
        asked.until(lambda: asked.page("/readyz")[0] == 200)
        assert program.end(signal.SIGTERM) == 0
        assert "Traceback" not in program.output
    assert (folder / "mine").exists() == (source == OTHER)


@needs_watchfiles
def test_new_code_counts_on(folder, url, client):
    """A reload is seen in nothing but the time of the worker."""
    with serving(folder, url, "--reload") as program:
        asked = Asked(program)
        asked.until_ready("shop")
        program.wait_until(has(client, "succeeded", client.submit("job.v1", {}).id))
        (folder / "work.py").write_text(WORK + "# as it is")
        program.wait_until(lambda: program.output.count("starts, serving") == 2)
        asked.until_ready("shop")
        program.wait_until(has(client, "succeeded", client.submit("job.v1", {}).id))
        asked.until(lambda: asked.value("run_claimed_total", type="job.v1") == [2])
        assert asked.value("worker_capacity") == [1]
        assert program.end(signal.SIGTERM) == 0
    assert left_over(folder) == []


def test_an_address_of_ipv6_is_told_as_a_url(folder):
    """As one that can be opened."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as reason:
        pytest.skip(f"no IPv6: {reason}")
    with serving(folder, "memory://", "--metrics-host", "::1") as program:
        asked = Asked(program)
        assert f"http://[::1]:{asked.port}/metrics" in program.output
        asked.until_ready("shop")
        assert program.end(signal.SIGTERM) == 0


# Mistakes


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_port_that_is_taken_is_one_line(folder, monkeypatch, processes):
    """Before any worker starts, with exit code 2; nothing is left behind."""
    monkeypatch.setenv("DATABASE_URL", NOBODY)
    monkeypatch.setenv("TMPDIR", str(folder / "temporary"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = ("--processes", processes, "--metrics-port", str(port))
        said = refused(folder, 2, "work:poller", *options)
    assert said.startswith(f"Error: 127.0.0.1 port {port} cannot be listened on: ")
    assert "Address already in use" in said
    assert left_over(folder) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--metrics-port", "65536"], "--metrics-port"),
        (["--metrics-port", "http"], "--metrics-port"),
        (["--metrics-port", "0", "--metrics-host", "300.1.1.1"], "300.1.1.1 port 0 cannot be"),
        (["--metrics-port", "0", "--processes", "2"], "absent' is no folder: make it, or unset"),
        (["--metrics-port", "0"], "absent' is no folder: make it, or unset"),
    ],
)
def test_what_cannot_be_served_is_one_line(folder, monkeypatch, arguments, says):
    """Whatever is wrong: what and where, exit code 2, no traceback."""
    monkeypatch.setenv("DATABASE_URL", NOBODY)
    if "absent" in says:
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(folder / "absent"))
    said = refused(folder, 2, "work:poller", *arguments)
    assert said.startswith("Error: ")
    assert says in said
