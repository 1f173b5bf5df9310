"""`simpleworkflow worker` as it is deployed: real processes, killed, stopped, and with new code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue

import pexpect
import psutil
import pytest
from programs import Program

from simpleworkflow import Client, migrate
from simpleworkflow.cli.supervisor import END, LONGEST_PAUSE, Keeper, pause_after

WORK = """
import os, threading
from pathlib import Path

from simpleworkflow import IntentPoller

poller = IntentPoller(
    os.environ["DATABASE_URL"], worker_id="shop", poll_interval=0.05, lease_duration=5
)


@poller.handler("job.v1")
def job(run):
    return "as it was"


@poller.handler("meet.%")
def meet(run):  # with so many others, at once
    Path(f"{run.id}.here").touch()
    until(lambda: len(list(Path().glob("*.here"))) >= run.payload)
    return run.worker_id


@poller.handler("hold.%")
def hold(run):
    Path("holder").write_text(str(os.getpid()))
    until(Path("let-go").exists)
    return "held"


def until(is_so):
    while not is_so():
        threading.Event().wait(0.02)
"""

NEVER = threading.Event()

needs_watchfiles = pytest.mark.skipif(
    find_spec("watchfiles") is None, reason="no watchfiles: the extra reload"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The current folder of workers, with a module for them."""
    (tmp_path / "work.py").write_text(WORK)
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


def command(*arguments: str) -> list[str]:
    """The command line of a worker."""
    return [sys.executable, "-u", "-m", "simpleworkflow", "worker", *arguments]


@contextmanager
def worker(
    folder: Path, url: str, *arguments: str, target: str = "work:poller", **environment: str
) -> Iterator[Program]:
    """A worker in the folder, with the poller of its module; nothing is left of it at the end."""
    output = folder / "output"
    with output.open("ab") as stream:
        process = subprocess.Popen(
            command(target, *arguments),
            env={**os.environ, "DATABASE_URL": url, **environment},
            cwd=folder,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    seen = {process.pid: psutil.Process(process.pid)}
    try:
        yield Program(process, output)
    finally:
        seen |= {one.pid: one for one in below(process.pid)}
        for one in seen.values():
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()


def below(pid: int) -> list[psutil.Process]:
    """The processes that this one has started."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def is_over(process: psutil.Process) -> bool:
    """Whether a process has ended; nobody may have asked for its exit code."""
    with suppress(psutil.NoSuchProcess):
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def has(client: Client, status: str, *ids: str) -> Callable[[], bool]:
    """A question: whether all of these runs have this status."""
    return lambda: all(client.get(id_).status == status for id_ in ids)


def holds(folder: Path, client: Client, id_: str) -> Callable[[], bool]:
    """A question: whether an executor is at work on this run, as its file tells."""
    return lambda: (folder / "holder").exists() and client.get(id_).status == "leased"


def happened(client: Client, id_: str) -> list[str]:
    """The types of a run's events."""
    return [event.type.value for event in client.events(id_)]


# Several processes


def test_processes_share_the_runs_and_execute_each_once(folder, url, client):
    """Three processes are at work at once, each by its own name, and no run is claimed twice."""
    met = [client.submit("meet.v1", 3).id for _ in range(3)]
    jobs = [client.submit("job.v1", {}).id for _ in range(60)]
    with worker(folder, url, "--processes", "3") as program:
        program.wait_until(has(client, "succeeded", *met, *jobs))
        assert program.end(signal.SIGTERM) == 0
    assert {client.get(id_).result for id_ in met} == {"shop-1", "shop-2", "shop-3"}
    assert all(happened(client, id_) == ["created", "leased", "succeeded"] for id_ in met + jobs)


def test_a_worker_that_is_killed_is_replaced_and_its_run_rescued(folder, url, client):
    """kill -9 of one process costs an attempt and no more; the log says so in one line."""
    id_ = client.submit("hold.v1", {}).id
    with worker(folder, url, "--processes", "2", "--lease-duration", "2") as program:
        program.wait_until(holds(folder, client, id_))
        holder = int((folder / "holder").read_text())
        os.kill(holder, signal.SIGKILL)
        told = f"(pid {holder}) ended with signal 9, Killed: starts again in 1 s"
        program.wait_until(lambda: told in program.output)
        (folder / "let-go").touch()
        program.wait_until(has(client, "succeeded", id_))
        program.wait_until(lambda: program.output.count("starts, serving") == 3)
        assert program.output.count("starts again") == 1
        assert len([one for one in below(program.process.pid) if not is_over(one)]) == 2
        assert program.end(signal.SIGTERM) == 0
    assert "rescued" in happened(client, id_)
    assert client.get(id_).attempt >= 1


def test_a_worker_that_keeps_dying_waits_longer_each_time():
    """The pauses double from a second on, and have an end."""
    assert [pause_after(deaths) for deaths in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert pause_after(6) == pause_after(10_000) == LONGEST_PAUSE


def test_a_process_that_cannot_be_started_is_tried_again(monkeypatch, caplog):
    """A machine that has no process to give is told in a line, and does not end the keeper."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    heard: SimpleQueue[str] = SimpleQueue()
    keeper = Keeper("shop-1", {}, heard)
    with caplog.at_level("WARNING"):
        keeper.start()
        assert any(
            "worker shop-1 cannot be started: " in caplog.text or NEVER.wait(0.02)
            for _ in range(1_000)
        )
    keeper.end(for_good=True)
    assert heard.get(timeout=30) == END


def test_a_look_that_ends_without_an_answer_is_a_failure(tmp_path):
    """A module that ends its own process is told of in one line too."""
    (tmp_path / "quits.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    said = refused(tmp_path, 1, "quits:poller", "--processes", "2")
    assert said == "Error: looking at quits:poller ended with signal 9, Killed and no answer\n"


# Stopping


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_executors_finish(folder, url, client, processes, number):
    """What is at work ends well, nothing more is claimed, and the exit code is 0."""
    id_ = client.submit("hold.v1", {}).id
    with worker(folder, url, "--processes", processes) as program:
        program.wait_until(holds(folder, client, id_))
        program.process.send_signal(number)
        if processes == "2":
            told = f"{number.name}: the workers finish what they are at"
            program.wait_until(lambda: told in program.output)
        (folder / "let-go").touch()
        assert program.end() == 0
    run = client.get(id_)
    assert (run.status, run.attempt, run.result) == ("succeeded", 0, "held")


def test_a_second_signal_gives_the_runs_back(folder, url, client):
    """Nobody waits for executors then: the run is another worker's, and no attempt is counted."""
    patient = "\npoller = poller.with_options(shutdown_timeout=600)\n"
    (folder / "work.py").write_text(WORK + patient)
    id_ = client.submit("hold.v1", {}).id
    with worker(folder, url, "--processes", "2") as program:
        program.wait_until(holds(folder, client, id_))
        program.process.send_signal(signal.SIGTERM)
        program.wait_until(lambda: "the workers finish" in program.output)
        assert program.end(signal.SIGTERM) == 0
    run = client.get(id_)
    assert (run.status, run.attempt) == ("pending", 0)


DEAF = """
import signal
threading.Thread(target=threading.Event().wait).start()
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: None)
poller = poller.with_options(shutdown_timeout=0)
"""
"""Keeps its process, once the poller has stopped, and hears no signal then."""


@pytest.mark.slow
def test_a_worker_that_does_not_end_is_killed_after_the_second_signal(folder, url):
    """A process that hears no signal is given its time, then killed, and the exit code tells."""
    (folder / "work.py").write_text(WORK + DEAF)
    with worker(folder, url, "--processes", "2") as program:
        program.wait_until(lambda: program.output.count("starts, serving") == 2)
        program.process.send_signal(signal.SIGTERM)
        program.wait_until(lambda: "the workers finish" in program.output)
        assert program.end(signal.SIGTERM) == 1
        assert "Error: killed, as they did not end: shop-1, shop-2\n" in program.output


def test_workers_end_with_a_parent_that_is_killed(folder, url, client):
    """kill -9 of the parent leaves nobody behind, and a run at work is finished first."""
    id_ = client.submit("hold.v1", {}).id
    with worker(folder, url, "--processes", "2") as program:
        program.wait_until(holds(folder, client, id_))
        workers = below(program.process.pid)
        assert len(workers) == 2
        program.process.kill()
        program.process.wait()
        (folder / "let-go").touch()
        _, left = psutil.wait_procs(workers, timeout=30)
        for one in left:
            one.kill()
        assert [one for one in left if not is_over(one)] == []
    assert client.get(id_).result == "held"


@pytest.mark.slow
def test_no_worker_outlives_its_parent_by_threads_of_its_module(folder, url):
    """What the module has begun and does not end keeps no process that has no parent."""
    (folder / "work.py").write_text(WORK + DEAF)
    with worker(folder, url, "--processes", "2") as program:
        program.wait_until(lambda: program.output.count("starts, serving") == 2)
        workers = below(program.process.pid)
        program.process.kill()
        _, left = psutil.wait_procs(workers, timeout=30)
        for one in left:
            one.kill()
        assert [one for one in left if not is_over(one)] == []


# Options


def test_options_win_over_what_the_poller_was_made_with(folder, url, client):
    """Store, name, types, concurrency: all are the command line's, and the rest the module's."""
    meeting = [client.submit("meet.v1", 2).id for _ in range(2)]
    other = client.submit("job.v1", {}).id
    arguments = ["--store", url, "--worker-id", "w9", "--type-prefix", "meet.%"]
    more = ["--concurrency", "2", "--poll-interval", "0.1", "--lease-duration", "9"]
    with worker(folder, "memory://nowhere", *arguments, *more) as program:
        program.wait_until(has(client, "succeeded", *meeting))
        assert program.end(signal.SIGTERM) == 0
    assert {client.get(id_).result for id_ in meeting} == {"w9"}
    assert client.get(other).status == "pending"


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("target", ["work:make", "work:make()", "shop.inner:poller"])
def test_the_target_is_looked_for_in_the_current_folder(folder, url, client, target, processes):
    """A function's poller serves as well, and a package's, where Python itself looks elsewhere."""
    (folder / "work.py").write_text(f"{WORK}\ndef make(): return poller\n")
    (folder / "shop").mkdir()
    (folder / "shop/inner.py").write_text(WORK)
    id_ = client.submit("job.v1", {}).id
    with worker(
        folder, url, "--processes", processes, target=target, PYTHONSAFEPATH="1"
    ) as program:
        program.wait_until(has(client, "succeeded", id_))
        assert program.end(signal.SIGTERM) == 0


def test_what_a_module_logs_is_left_to_it(folder, url):
    """A module that configures logging keeps its own format."""
    own = "\nimport logging\nlogging.basicConfig(level='INFO', format='own: %(message)s')\n"
    (folder / "work.py").write_text(WORK + own)
    with worker(folder, url) as program:
        program.wait_until(lambda: "own: worker shop starts, serving" in program.output)
        assert program.end(signal.SIGTERM) == 0


def test_the_log_level_is_heard_by_every_process(folder, url, client):
    """`--log-level error` keeps the quiet of workers and their parent."""
    with worker(folder, url, "--processes", "2", "--log-level", "error") as program:
        program.wait_until(has(client, "succeeded", client.submit("job.v1", {}).id))
        assert program.end(signal.SIGTERM) == 0
        assert program.output == ""


def test_a_log_on_a_terminal_and_one_ctrl_c(folder, url, client):
    """Each process tells who it is; Ctrl-C, which a terminal sends to all of them, counts once."""
    id_ = client.submit("hold.v1", {}).id
    terminal = pexpect.spawn(
        sys.executable,
        command("work:poller", "--processes", "2")[1:],
        cwd=str(folder),
        env={**os.environ, "DATABASE_URL": url, "NO_COLOR": "1"},
        encoding="utf-8",
        timeout=60,
    )
    try:
        for _ in range(2):
            terminal.expect(
                r"\d INFO \[\d+\] worker shop-\d starts, serving hold.%, job.v1, meet.%"
            )
        while not holds(folder, client, id_)():
            terminal.expect([r"nothing more", pexpect.TIMEOUT], timeout=0.05)
        terminal.sendintr()
        terminal.expect("SIGINT: the workers finish what they are at; once more ends that")
        (folder / "let-go").touch()
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close(force=True)
    assert terminal.exitstatus == 0
    assert (client.get(id_).status, client.get(id_).attempt) == ("succeeded", 0)


# New code


@needs_watchfiles
@pytest.mark.parametrize("processes", ["1", "2"])
def test_reload_works_with_the_code_that_changed(folder, url, client, processes):
    """A changed file, the module's or one that it imports, is what the next run is executed by."""
    (folder / "below").mkdir()
    (folder / "below/words.py").write_text("TEXT = 'as it was'")
    (folder / "work.py").write_text(
        WORK.replace('return "as it was"', "from below.words import TEXT; return TEXT")
    )
    names = ["shop"] if processes == "1" else ["shop-1", "shop-2"]
    first = client.submit("job.v1", {}).id
    with worker(folder, url, "--reload", "--processes", processes) as program:
        program.wait_until(lambda: program.output.count("starts, serving") == len(names))
        program.wait_until(has(client, "succeeded", first))
        (folder / "below/words.py").write_text("TEXT = 'as it is'")
        program.wait_until(lambda: "words.py changed: the workers start anew" in program.output)
        for name in names:
            line = f"worker {name} starts, serving"
            program.wait_until(lambda line=line: program.output.count(line) == 2)
        program.wait_until(has(client, "succeeded", second := client.submit("job.v1", {}).id))
        assert program.end(signal.SIGTERM) == 0
        assert "starts again" not in program.output
    assert [client.get(id_).result for id_ in (first, second)] == ["as it was", "as it is"]


@needs_watchfiles
def test_reload_outlives_code_that_is_broken(folder, url, client):
    """A module that cannot be imported is told in one line, and works once it is mended."""
    with worker(folder, url, "--reload") as program:
        program.wait_until(lambda: "starts, serving" in program.output)
        (folder / "work.py").write_text("nonsense")
        program.wait_until(lambda: "ended with exit code 2: starts again in" in program.output)
        assert "Error: work cannot be imported: NameError" in program.output
        assert "Traceback" not in program.output
        (folder / "work.py").write_text(WORK)
        program.wait_until(has(client, "succeeded", client.submit("job.v1", {}).id))
        assert program.end(signal.SIGTERM) == 0


@needs_watchfiles
def test_reload_lets_executors_finish(folder, url, client):
    """A run at work is not lost to a new version, which takes over when that has ended."""
    id_ = client.submit("hold.v1", {}).id
    with worker(folder, url, "--reload") as program:
        program.wait_until(holds(folder, client, id_))
        (folder / "work.py").write_text(WORK + "# as it is")
        program.wait_until(lambda: "work.py changed" in program.output)
        (folder / "let-go").touch()
        program.wait_until(lambda: program.output.count("starts, serving") == 2)
        assert program.end(signal.SIGTERM) == 0
    run = client.get(id_)
    assert (run.status, run.attempt) == ("succeeded", 0)


# Mistakes

MODULES = {
    "misses.py": "import nowhere_to_be_found",
    "misspelt.py": "poller = (",
    "raises.py": "1 / 0",
    "wrong.py": "from simpleworkflow import IntentPoller\nIntentPoller('memory://', concurrency=0)",
    "fine.py": """
from simpleworkflow import IntentPoller

bare, poller, number = IntentPoller("memory://"), IntentPoller("memory://"), 3
poller.register_executor("a.v1", lambda run: None)

def make(needed): return poller

def forgets(): poller
""",
}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fine"], "'fine' names no poller: write MODULE:NAME"),
        (["fine:"], "'fine:' names no poller"),
        (["fi-ne:poller"], "'fi-ne:poller' names no poller"),
        (["..fine:poller"], "'..fine:poller' names no poller"),
        (["fine.poller:a.b"], "names no poller"),
        (["absent:poller"], "there is no module absent, neither in "),
        (["fine.below:poller"], "there is no module fine.below, neither in "),
        (["misses:poller"], "misses cannot be imported: ModuleNotFoundError: No module named"),
        (["misses:poller"], "misses.py, line 1)"),
        (["misspelt:poller"], "SyntaxError: '(' was never closed (misspelt.py, line 1)"),
        (["raises:poller"], "raises cannot be imported: ZeroDivisionError: division by zero"),
        (["wrong:poller"], "concurrency=0 must be a whole number"),
        (["wrong:poller"], "wrong.py, line 2)"),
        (["fine:pollr"], "the module fine has no 'pollr'; its pollers are: bare, poller"),
        (["fine:number"], "fine:number is of the type int: it must be an IntentPoller"),
        (["fine:forgets"], "fine:forgets() is of the type NoneType"),
        (["fine:make"], "fine:make() failed: TypeError: make() missing 1 required"),
        (["fine:bare"], "no executor is registered"),
        (["fine:poller", "--type-prefix", "b.%"], "lies within type_prefixes=[b.%]"),
        (["fine:poller", "--type-prefix", "%.b"], "%.b"),
        (["fine:poller", "--concurrency", "0"], "concurrency=0 must be a whole number"),
        (["fine:poller", "--lease-duration", "0.1"], "lease_duration=0.1"),
        (["fine:poller", "--store", "nonsense"], "is no store"),
        (["fine:poller", "--log-level", "loud"], "'loud' is not one of"),
        (["fine:poller", "--processes", "0"], "--processes"),
        ([], "Missing argument 'MODULE:POLLER'"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, arguments, says):
    """Whatever is wrong: one line which says what and where, exit code 2, no traceback."""
    for name, source in MODULES.items():
        (tmp_path / name).write_text(source)
    done = misused(tmp_path, *arguments)
    assert says in done
    assert done.startswith("Error: ")


@pytest.mark.parametrize("target", ["absent:poller", "raises:poller", "fine:bare", "fine:make"])
def test_several_processes_tell_a_mistake_once(tmp_path, target):
    """However many were to start, it is the line that one would have told."""
    for name, source in MODULES.items():
        (tmp_path / name).write_text(source)
    assert misused(tmp_path, target, "--processes", "3") == misused(tmp_path, target)


def test_several_processes_cannot_share_memory(tmp_path):
    """`memory://` is one process's own, so two workers on it would wait for ever."""
    (tmp_path / "fine.py").write_text(MODULES["fine.py"])
    assert "needs a database, and not memory://" in misused(
        tmp_path, "fine:poller", "--processes=2"
    )


def test_reload_without_watchfiles_names_the_install_command(tmp_path):
    """Whoever lacks the extra is told how to get it."""
    (tmp_path / "fine.py").write_text(MODULES["fine.py"])
    (tmp_path / "watchfiles.py").write_text("raise ImportError('as if it were not there')")
    said = misused(tmp_path, "fine:poller", "--reload")
    assert said == "Error: --reload needs watchfiles: pip install 'simpleworkflow[reload]'\n"


def test_a_store_that_is_away_is_a_failure_and_no_mistake(folder):
    """Exit code 1, so that whatever starts the worker may start it again."""
    nobody = "postgresql://anna:s3cret@127.0.0.1:1/shop"
    done = subprocess.run(
        command("work:poller"),
        cwd=folder,
        env={**os.environ, "DATABASE_URL": nobody},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr


def misused(folder: Path, *arguments: str) -> str:
    """The one line that a worker which cannot be is answered with."""
    return refused(folder, 2, *arguments)


def refused(folder: Path, exit_code: int, *arguments: str) -> str:
    """The one line that a worker which ends with this exit code leaves."""
    done = subprocess.run(
        command(*arguments), cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == exit_code, done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr
