"""Both PostgreSQL drivers connect alike, carry values alike and fail alike."""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
import uuid
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from threading import Thread
from urllib.parse import quote, urlsplit

import pytest
from authority import Authority
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pgbouncer import PgBouncer
from proxy import Proxy
from replication import primary_and_standby
from samples import json_values
from servers import Unavailable, new_server, open_folder, schema_of, servers_here, with_schema

from simpleworkflow.backends.memory import MemoryStore
from simpleworkflow.backends.postgres import driver as drivers
from simpleworkflow.backends.postgres import migrate as migrations
from simpleworkflow.backends.postgres.driver import DataRefused, open_session
from simpleworkflow.backends.postgres.pool import Pool
from simpleworkflow.backends.postgres.url import parse_url
from simpleworkflow.backends.registry import migrate, open_store
from simpleworkflow.core.errors import SchemaNotReady, StoreUnavailable, UsageError
from simpleworkflow.core.records import Extension, Hold, Settlement, Verdict, new_run
from simpleworkflow.core.routing import Route
from simpleworkflow.core.states import Move, Status
from simpleworkflow.core.storable import canonical_json, encode_json
from simpleworkflow.testing.clock import FakeClock

pytest.importorskip("pg8000")

DRIVERS = ["psycopg", "pg8000"]
EVERYTHING = Route.of(["%"])
LEASE = timedelta(seconds=30)
SECRET = "s3cr3t-Word"


@pytest.fixture(params=DRIVERS)
def driver(request):
    """The name of each driver in turn."""
    return request.param


def for_driver(driver, url, **parameters):
    """The URL for this driver, with more parameters."""
    text = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in parameters.items())
    joint = "&" if "?" in url else "?"
    return f"postgresql+{driver}{url[url.index('://') :]}{joint + text if text else ''}"


def connect(driver, url, options="", **parameters):
    """A session straight from the driver, closed with the block."""
    module = importlib.import_module(f"simpleworkflow.backends.{driver}")
    address = parse_url(for_driver(driver, url, **parameters))
    return contextlib.closing(module.connect(address, options))


def session(driver, url, **parameters):
    """A session as stores have it, closed with the block."""
    module = importlib.import_module(f"simpleworkflow.backends.{driver}")
    address = parse_url(for_driver(driver, url, **parameters))
    return contextlib.closing(open_session(module, address))


def ask(connection, question, **params):
    """The one value that a question gives."""
    [[value]] = connection.fetch(question, params)
    return value


@pytest.fixture
def ready_url(database_url):
    """A URL with tables, on each real server in turn."""
    with contextlib.closing(open_store(database_url)) as store:
        store.migrate()
    return database_url


@pytest.fixture
def store(driver, ready_url):
    """A store over each driver, on each real server in turn."""
    with contextlib.closing(open_store(for_driver(driver, ready_url))) as opened:
        yield opened


@pytest.fixture
def both(ready_url):
    """Two stores on the same tables, one over each driver."""
    stores = [open_store(for_driver(driver, ready_url)) for driver in DRIVERS]
    yield stores
    for store in stores:
        store.close()


def submit(store, type="media.thumb.v1", payload=None, **fields):
    """Submit a run and return its id."""
    [answer] = store.submit([new_run(str(uuid.uuid4()), type, payload, **fields)])
    return answer.id


def claim_one(store, worker="worker-a"):
    """Claim the only run there is."""
    [claimed] = store.claim(EVERYTHING, 10, worker, LEASE)
    return claimed


def succeeded(claim, result_json="null"):
    """The settlement of an executor that returned."""
    return Settlement(claim, Move.SUCCEED, claim.attempt, result_json=result_json)


def verdict_of(store, settlement):
    """What the store says to one settlement."""
    [settled] = store.settle([settlement])
    return settled.verdict


# Ways to the server


@pytest.fixture(scope="module")
def lock(_running):
    """A server with TLS and a Unix socket, and the authority that signed its certificate.

    Its certificate names 127.0.0.1 and not localhost. The role `certified` logs in by a
    certificate, and `cleartext` only without TLS.
    """
    folder = Path(tempfile.mkdtemp(prefix="simpleworkflow-tls-", dir=open_folder()))
    folder.chmod(0o755)
    server = None
    try:
        authority = Authority(folder / "authority", "the right one")
        certificate, key = authority.sign("server", "IP:127.0.0.1")
        sockets = folder / "Sockets"
        sockets.mkdir()
        if os.geteuid() == 0:
            for path in (sockets, key, key.parent):
                shutil.chown(path, "nobody")
        server = _server_with_tls(
            {
                "ssl": "on",
                "ssl_cert_file": str(certificate),
                "ssl_key_file": str(key),
                "ssl_ca_file": str(authority.root),
                "unix_socket_directories": str(sockets),
            }
        )
        rules = server._folder / "server" / "pgdata" / "pg_hba.conf"
        rules.write_text(
            "hostssl all certified 127.0.0.1/32 cert\n"
            "hostssl all cleartext 127.0.0.1/32 reject\n" + rules.read_text()
        )
        with server.connect() as connection:
            connection.execute("select pg_reload_conf()")
            connection.execute("create role certified login")
            connection.execute(f"create role cleartext login password '{SECRET}'")
        yield server, authority, sockets
    except Unavailable as reason:
        pytest.skip(str(reason))
    finally:
        if server is not None:
            server.close()
        shutil.rmtree(folder)


def _server_with_tls(server_settings):
    from simpleworkflow.core.errors import StoreError

    reasons = []
    for known in servers_here():
        try:
            server = new_server(known, server_settings)
            server.start()
        except (Unavailable, StoreError) as reason:
            reasons.append(f"{known.name}: {reason}")
        else:
            return server
    raise Unavailable(f"no server with TLS: {reasons}")


IS_ENCRYPTED = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"


@pytest.mark.parametrize(
    ("sslmode", "is_encrypted"),
    [(None, True), ("disable", False), ("prefer", True), ("require", True)],
)
def test_sslmode_says_whether_the_session_is_encrypted(driver, lock, sslmode, is_encrypted):
    """TLS is used where it is offered, unless the URL says otherwise."""
    server, _, _ = lock
    parameters = {"sslmode": sslmode} if sslmode else {}
    with connect(driver, server.url, **parameters) as connection:
        assert ask(connection, IS_ENCRYPTED) is is_encrypted


def test_sslmode_allow_connects(driver, lock):
    """Whether it is encrypted then is the driver's choice."""
    server, _, _ = lock
    with connect(driver, server.url, sslmode="allow") as connection:
        assert ask(connection, "select 1") == 1


@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full"])
def test_a_certificate_of_the_right_authority_is_taken(driver, lock, sslmode):
    """Its authority is named by sslrootcert, and the host by its address."""
    server, authority, _ = lock
    with connect(driver, server.url, sslmode=sslmode, sslrootcert=authority.root) as connection:
        assert ask(connection, IS_ENCRYPTED) is True


@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full"])
def test_a_certificate_of_a_wrong_authority_is_refused(driver, lock, tmp_path, sslmode):
    """With sslrootcert even `require` verifies, as libpq has it."""
    server, _, _ = lock
    wrong = Authority(tmp_path / "wrong", "the wrong one")
    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        connect(driver, server.url, sslmode=sslmode, sslrootcert=wrong.root)


def test_verify_full_refuses_a_wrong_host(driver, lock):
    """The certificate names 127.0.0.1; verify-ca does not look at that."""
    server, authority, _ = lock
    url = server.url.replace("@127.0.0.1:", "@localhost:")
    with connect(driver, url, sslmode="verify-ca", sslrootcert=authority.root) as connection:
        assert ask(connection, IS_ENCRYPTED) is True
    with pytest.raises(StoreUnavailable, match="localhost"):
        connect(driver, url, sslmode="verify-full", sslrootcert=authority.root)


@pytest.mark.parametrize("sslmode", ["verify-ca", "verify-full"])
def test_without_sslrootcert_nobody_unknown_is_trusted(driver, lock, sslmode, monkeypatch):
    """Verifying without an authority is refused, and never skipped."""
    server, _, _ = lock
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(StoreUnavailable, match="certificate"):
        connect(driver, server.url, sslmode=sslmode)


def test_a_role_may_log_in_by_a_certificate(driver, lock):
    """The files are named by sslcert and sslkey, and no password is needed."""
    server, authority, _ = lock
    mine = authority.sign("certified")
    parts = urlsplit(server.url)
    url = parts._replace(netloc=f"certified@{parts.hostname}:{parts.port}").geturl()
    files = {"sslcert": mine.path, "sslkey": mine.key}
    with connect(driver, url, sslmode="require", **files) as connection:
        assert ask(connection, "select current_user::text") == "certified"
    with pytest.raises(StoreUnavailable, match="certificate"):
        connect(driver, url, sslmode="require")


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert"])
def test_a_missing_file_is_named(driver, lock, name):
    """Which file cannot be read is told."""
    server, _, _ = lock
    with pytest.raises(StoreUnavailable, match="/nonexistent/file"):
        connect(driver, server.url, sslmode="verify-ca", **{name: "/nonexistent/file"})


@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full"])
def test_a_server_without_tls_is_refused(driver, lock, one_server, sslmode):
    """Where the server offers none, `prefer` connects, and what asks for more does not."""
    _, authority, _ = lock
    with connect(driver, one_server.url, sslmode="prefer") as connection:
        assert ask(connection, "select 1") == 1
    with pytest.raises(StoreUnavailable, match="SSL"):
        connect(driver, one_server.url, sslmode=sslmode, sslrootcert=authority.root)


@pytest.mark.parametrize("is_in_query", [True, False])
def test_a_unix_socket_is_a_folder_in_place_of_a_host(driver, lock, is_in_query):
    """In the query or percent-encoded in the place of the host, capitals kept, without TLS."""
    server, _, sockets = lock
    parts = urlsplit(server.url)
    login = f"{parts.username}:{parts.password}@"
    if is_in_query:
        url = f"postgresql://{login}/postgres?host={sockets}&port={parts.port}"
    else:
        url = f"postgresql://{login}{quote(str(sockets), safe='')}:{parts.port}/postgres"
    with connect(driver, url, sslmode="require") as connection:
        assert ask(connection, "select inet_server_addr() is null") is True


def test_a_store_works_over_tls_and_over_a_unix_socket(driver, lock):
    """Two stores, one way each, meet in one table."""
    server, authority, sockets = lock
    with server.fresh_schema() as url:
        secured = open_store(
            for_driver(driver, url, sslmode="verify-full", sslrootcert=authority.root)
        )
        local = open_store(for_driver(driver, url, host=sockets))
        with contextlib.closing(secured), contextlib.closing(local):
            secured.migrate()
            run_id = submit(local)
            assert verdict_of(secured, succeeded(claim_one(secured))) is Verdict.APPLIED
            assert local.get(run_id).status is Status.SUCCEEDED


def test_the_environment_says_what_the_url_does_not(driver, one_server, monkeypatch):
    """As with every program that uses PostgreSQL."""
    parts = urlsplit(one_server.url)
    for name, value in {
        "PGHOST": parts.hostname,
        "PGPORT": str(parts.port),
        "PGUSER": parts.username,
        "PGPASSWORD": parts.password,
        "PGDATABASE": parts.path[1:],
    }.items():
        monkeypatch.setenv(name, value or "")
    with connect(driver, "postgresql://") as connection:
        assert ask(connection, "select current_database()::text") == parts.path[1:]
    with pytest.raises(StoreUnavailable, match="nowhere"):
        connect(driver, "postgresql:///nowhere")


def test_connecting_to_silence_ends_in_time(driver):
    """Somebody who listens and never speaks is given up after connect_timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/d"
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable, match="time"):
            connect(driver, url, connect_timeout=2)
        assert time.monotonic() - begun < 10


def test_somebody_who_is_no_postgresql_is_an_unavailable_database(driver):
    """Whatever answers at the port, the error is one of ours."""

    def answer(server):
        with contextlib.suppress(OSError):
            while True:  # A driver may try with TLS, then without.
                peer, _ = server.accept()
                with peer:
                    peer.recv(1_000)
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        Thread(target=answer, args=(server,), daemon=True).start()
        port = server.getsockname()[1]
        with pytest.raises(StoreUnavailable):
            connect(driver, f"postgresql://u@127.0.0.1:{port}/d", connect_timeout=2)


# Errors


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"password": SECRET}, StoreUnavailable, "password authentication failed"),
        ({"password": "%C2%AA%00"}, UsageError, "password"),
        ({"password": quote("\u0627\u0661 \u200f")}, StoreUnavailable, "password auth|Scram"),
        ({"password": ""}, StoreUnavailable, "password"),
        ({"user": "nobody_here"}, StoreUnavailable, "nobody_here"),
        ({"path": "/nowhere"}, StoreUnavailable, "nowhere"),
        ({"host": "no-such-host.invalid"}, StoreUnavailable, "resolve|known|resolution"),
        ({"host": "a..b"}, StoreUnavailable, "idna"),
        ({"port": 1}, StoreUnavailable, "refused"),
        ({"port": 65_536}, UsageError, "port"),
        ({"query": "connect_timeout=soon"}, UsageError, "connect_timeout"),
        ({"query": "port=12a"}, UsageError, "port"),
        ({"query": "sslmode=perhaps"}, UsageError, "sslmode.*verify-full"),
        ({"query": "target_session_attrs=best"}, UsageError, "target_session_attrs.*read-write"),
        ({"query": "sslmodus=require"}, UsageError, "sslmodus"),
        ({"query": "host=%2Fnonexistent"}, StoreUnavailable, "/nonexistent/.s.PGSQL"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_url_is_told(driver, one_server, change, kind, words):
    """In words that name it, and without the password."""
    parts = urlsplit(one_server.url)
    host, port = change.get("host", parts.hostname), change.get("port", parts.port)
    user, password = change.get("user", parts.username), change.get("password", parts.password)
    url = parts._replace(
        netloc=f"{user}:{password}@{host}:{port}",
        path=change.get("path", parts.path),
        query=change.get("query", ""),
    ).geturl()
    with pytest.raises(kind, match=f"(?s){words}") as caught:
        connect(driver, url)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert not password or password not in shown


def test_a_lone_surrogate_in_a_url_is_told(driver):
    """No server could be sent it."""
    with pytest.raises(UsageError, match="URL"):
        connect(driver, f"postgresql://u:{SECRET}\ud800@127.0.0.1/d")


def test_reprs_show_no_password(driver, one_database_url):
    """Neither a store's nor a connection's."""
    password = urlsplit(one_database_url).password
    store = open_store(for_driver(driver, one_database_url))
    with connect(driver, one_database_url) as connection:
        assert password
        assert password not in f"{store!r} {store.address!r} {store.address} {connection!r}"


def test_an_empty_database_names_the_command_to_run(driver, database_url):
    """Without tables, nothing is guessed."""
    with (
        contextlib.closing(open_store(for_driver(driver, database_url))) as store,
        pytest.raises(SchemaNotReady, match="simpleworkflow migrate"),
    ):
        submit(store)


# Sessions


def test_a_server_that_was_restarted_is_not_noticed(driver, own_server):
    """Idle connections that it has hung up on are replaced before they are used."""
    for mode in ("fast", "immediate"):
        with own_server.fresh_schema() as url:
            store = open_store(for_driver(driver, url))
            with contextlib.closing(store):
                store.migrate()
                submit(store)
                claimed = claim_one(store)
                assert store.extend([Extension(claimed, LEASE)]) == [Hold.KEPT]
                own_server.restart(mode)
                assert store.extend([Extension(claimed, LEASE)]) == [Hold.KEPT]
                assert verdict_of(store, succeeded(claimed)) is Verdict.APPLIED


def test_a_server_that_is_gone_is_an_unavailable_database(driver, own_server):
    """And a later use, when it is back, works."""
    with own_server.fresh_schema() as url:
        store = open_store(for_driver(driver, url))
        with contextlib.closing(store):
            store.migrate()
            run_id = submit(store)
            own_server.stop()
            with pytest.raises(StoreUnavailable):
                store.get(run_id)
            own_server.start()
            assert store.get(run_id).id == run_id


def test_a_session_that_was_ended_in_mid_statement_is_replaced(driver, one_server):
    """Its statement fails as unavailable, the next one gets another session."""
    address = parse_url(for_driver(driver, one_server.url))
    module = importlib.import_module(f"simpleworkflow.backends.{driver}")
    pool = Pool(lambda: open_session(module, address), 1)
    with (
        contextlib.closing(pool),
        pytest.raises(StoreUnavailable),
        pool.connection() as connection,
    ):
        connection.fetch("select pg_terminate_backend(pg_backend_pid())", {})
    pool = Pool(lambda: open_session(module, address), 1)
    with contextlib.closing(pool), pool.connection() as connection:
        assert ask(connection, "select 42") == 42


class Interrupted(BaseException):
    """What a signal handler raises."""


def test_an_interrupt_in_mid_statement_leaves_no_answer_behind(driver, one_server):
    """The next statement gets its own answer, and not the one that was not waited for."""
    address = parse_url(for_driver(driver, one_server.url))
    module = importlib.import_module(f"simpleworkflow.backends.{driver}")
    pool = Pool(lambda: open_session(module, address), 1)

    def interrupt(_number, _frame):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with contextlib.closing(pool):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(Interrupted), pool.connection() as connection:
                connection.fetch("select 'old', pg_sleep(:s::float8)::text", {"s": 1.0})
            for _ in range(3):
                with pool.connection() as connection:
                    assert ask(connection, "select 'new'") == "new"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_our_settings_hold_for_a_direct_session(driver, one_server):
    """Statements are prepared there, and plans made as they must be."""
    module = importlib.import_module(f"simpleworkflow.backends.{driver}")
    address = parse_url(for_driver(driver, one_server.url))
    with contextlib.closing(open_session(module, address)) as connection:
        assert connection.may_prepare is True
        assert ask(connection, "select current_setting('enable_seqscan')") == "off"
        assert ask(connection, "select current_setting('application_name')") == "simpleworkflow"


def test_the_options_of_the_url_win(driver, one_server):
    """What the user asks for comes last."""
    module = importlib.import_module(f"simpleworkflow.backends.{driver}")
    url = for_driver(
        driver,
        one_server.url,
        options="-c enable_seqscan=on -c statement_timeout=7s",
        application_name="mine",
    )
    with contextlib.closing(open_session(module, parse_url(url))) as connection:
        assert ask(connection, "select current_setting('enable_seqscan')") == "on"
        assert ask(connection, "select current_setting('jit')") == "off"
        assert ask(connection, "select current_setting('statement_timeout')") == "7s"
        assert ask(connection, "select current_setting('application_name')") == "mine"


def test_both_drivers_share_the_work_of_one_table(both):
    """Each run goes to one of them, whoever submitted it."""
    ids = {submit(both[n % 2], priority=n % 3) for n in range(100)}
    claimed = {store: [] for store in both}

    def work(store):
        while claims := store.claim(EVERYTHING, 3, "the same name", LEASE):
            claimed[store] += [claim.run_id for claim in claims]
            store.settle([succeeded(claim) for claim in claims])

    threads = [Thread(target=work, args=(store,)) for store in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed[both[0]] + claimed[both[1]]) == sorted(ids)
    assert {both[0].get(id).status for id in ids} == {Status.SUCCEEDED}


def test_what_one_driver_claims_the_other_may_settle(both):
    """A claim is a proof, whatever carries it."""
    submit(both[0])
    claimed = claim_one(both[0])
    assert both[1].extend([Extension(claimed, LEASE)]) == [Hold.KEPT]
    assert verdict_of(both[1], succeeded(claimed)) is Verdict.APPLIED
    assert verdict_of(both[0], succeeded(claimed)) is Verdict.APPLIED


# Several servers


def through(url, *places, **parameters):
    """The URL, leading to these places (host:port) in turn."""
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    netloc = f"{login}@{','.join(places)}"
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return parts._replace(netloc=netloc, query=query).geturl()


def place_of(url):
    """The host and port in a URL."""
    return urlsplit(url).netloc.rpartition("@")[2]


IS_STANDBY = "select pg_is_in_recovery()"
NOBODY = "127.0.0.1:1"


@pytest.fixture(scope="module")
def pair(_running):
    """A primary and its standby, which no test changes."""
    try:
        with primary_and_standby(servers_here()[-1]) as running:
            yield running
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("is_standby_first", [False, True])
@pytest.mark.parametrize(
    ("wanted", "is_standby"),
    [
        ("read-write", False),
        ("primary", False),
        ("read-only", True),
        ("standby", True),
        ("prefer-standby", True),
    ],
)
def test_the_server_is_of_the_kind_that_is_asked_for(
    driver, pair, wanted, is_standby, is_standby_first
):
    """Wherever it stands in the URL, and though nobody answers at the first place."""
    places = [place_of(server.url) for server in (pair.primary, pair.standby)]
    if is_standby_first:
        places.reverse()
    url = through(pair.primary.url, NOBODY, *places, target_session_attrs=wanted)
    with connect(driver, url) as connection:
        assert ask(connection, IS_STANDBY) is is_standby


@pytest.mark.parametrize("wanted", [None, "any"])
def test_the_first_that_answers_is_taken(driver, pair, wanted):
    """Where no kind is asked for."""
    parameters = {"target_session_attrs": wanted} if wanted else {}
    for first, second in ((pair.primary, pair.standby), (pair.standby, pair.primary)):
        url = through(first.url, place_of(first.url), place_of(second.url), **parameters)
        with connect(driver, url) as connection:
            assert ask(connection, IS_STANDBY) is (first is pair.standby)


def test_a_primary_serves_where_there_is_no_standby(driver, pair):
    """It is preferred, and not required."""
    url = through(pair.primary.url, NOBODY, place_of(pair.primary.url))
    with connect(driver, url, target_session_attrs="prefer-standby") as connection:
        assert ask(connection, IS_STANDBY) is False


def test_the_environment_may_ask_for_a_kind(driver, pair, monkeypatch):
    """As it may give all else that the URL does not."""
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "standby")
    url = through(pair.primary.url, place_of(pair.primary.url), place_of(pair.standby.url))
    with connect(driver, url) as connection:
        assert ask(connection, IS_STANDBY) is True


def test_each_place_is_named_where_none_serves(driver, pair):
    """With what is wrong there."""
    standby = place_of(pair.standby.url)
    url = through(pair.primary.url, NOBODY, standby, target_session_attrs="read-write")
    port = urlsplit(pair.standby.url).port
    with pytest.raises(StoreUnavailable, match=rf"(?s)\b1\b.*refused.*\b{port}\b.*read-only"):
        connect(driver, url)


@pytest.mark.parametrize("wanted", ["read-only", "standby"])
def test_a_primary_is_not_a_standby(driver, one_server, wanted):
    """It is refused where it is the only one."""
    with pytest.raises(StoreUnavailable, match=r"not (a standby|in hot standby|read-only)"):
        connect(driver, one_server.url, target_session_attrs=wanted)


def test_one_port_may_stand_for_all_hosts(driver, one_server):
    """Hosts and ports may stand in the query as well, one port for all or one for each."""
    port = urlsplit(one_server.url).port
    for ports in (port, f"{port},{port}", f"1,{port}"):
        url = through(one_server.url, "", host="127.0.0.1,localhost", port=ports)
        with connect(driver, url) as connection:
            assert ask(connection, "select 1") == 1


def test_hosts_and_ports_that_do_not_match_are_told(driver):
    """Which port belongs to which host is not guessed."""
    with pytest.raises((UsageError, StoreUnavailable), match=r"\b2 port.* 3 hosts"):
        connect(driver, "postgresql://u@/d?host=a,b,c&port=1,2")


def test_a_failover_loses_nothing(driver, server):
    """What was submitted is claimed and settled on the server that took over."""
    try:
        with primary_and_standby(server) as pair:
            url = for_driver(driver, with_schema(pair.url, "jobs"))
            with contextlib.closing(open_store(url)) as store:
                store.migrate()
                submit(store)
                claimed = claim_one(store)
                pair.stop_primary()
                pair.promote()
                assert store.extend([Extension(claimed, LEASE)]) == [Hold.KEPT]
                assert verdict_of(store, succeeded(claimed)) is Verdict.APPLIED
    except Unavailable as reason:
        pytest.skip(str(reason))


def test_all_connections_leave_a_server_that_is_no_longer_the_primary(driver, server):
    """One is told that it is read-only, and the others follow without being told."""
    try:
        with primary_and_standby(server) as pair:
            module = importlib.import_module(f"simpleworkflow.backends.{driver}")
            address = parse_url(for_driver(driver, pair.url))
            pool = Pool(lambda: open_session(module, address), 2)
            with contextlib.closing(pool):
                with pool.connection() as one, pool.connection() as two:
                    assert [ask(each, IS_STANDBY) for each in (one, two)] == [False, False]
                pair.promote()
                demote(pair.primary)
                with pytest.raises(StoreUnavailable, match="read-only"), pool.connection() as one:
                    one.run_script("create table written ()")
                with pool.connection() as one, pool.connection() as two:
                    ports = [ask(each, "select inet_server_port()") for each in (one, two)]
                assert ports == [urlsplit(pair.standby.url).port] * 2
    except Unavailable as reason:
        pytest.skip(str(reason))


def demote(server):
    """Let a server take no more writes, its sessions kept."""
    with server.connect() as connection:
        connection.execute("alter system set default_transaction_read_only = on")
        connection.execute("select pg_reload_conf()")
    is_read_only = "off"
    while is_read_only == "off":  # The old sessions are told before a new one begins with it.
        with server.connect() as connection:
            [[is_read_only]] = connection.execute("show default_transaction_read_only").fetchall()


# Limits

SHORT = "-c statement_timeout=500ms"


@pytest.fixture
def short_margin(monkeypatch):
    """Silence is noticed soon after the server's own limit."""
    monkeypatch.setattr(drivers, "ANSWER_MARGIN", 0.1)


@pytest.mark.parametrize(
    ("options", "limit"),
    [("", 15), ("-c statement_timeout=1min", 65), ("-c statement_timeout=0", None)],
)
def test_a_statement_may_take_as_long_as_the_url_says(driver, one_server, options, limit):
    """And is given up here some seconds after the server should have done it."""
    with session(driver, one_server.url, options=options) as connection:
        assert connection.answer_timeout == limit


@pytest.mark.parametrize(
    "use", [lambda c: ask(c, "select 1"), lambda c: c.run_script("listen somebody")]
)
def test_a_server_that_falls_silent_is_given_up(driver, one_server, short_margin, use):
    """Though its connection stays open; the next statement has a new one."""
    module = importlib.import_module(f"simpleworkflow.backends.{driver}")
    with Proxy(one_server.url) as proxy:
        address = parse_url(for_driver(driver, proxy.url, options=SHORT))
        pool = Pool(lambda: open_session(module, address), 1)
        with contextlib.closing(pool):
            with pool.connection() as connection:
                assert ask(connection, "select 1") == 1
            proxy.abandon()
            with (
                pytest.raises(StoreUnavailable, match=r"no answer within 0\.6 s"),
                pool.connection() as connection,
            ):
                use(connection)
            with pool.connection() as connection:
                assert ask(connection, "select 2") == 2


def test_a_lost_connection_is_thrown_away_in_silence(driver, one_server, monkeypatch):
    """Python's collector, which may come much later, finds nothing in it to complain about."""
    module = importlib.import_module(f"simpleworkflow.backends.{driver}")
    complaints = []
    monkeypatch.setattr(sys, "unraisablehook", lambda complaint: complaints.append(repr(complaint)))
    with Proxy(one_server.url) as proxy:
        connection = open_session(module, parse_url(for_driver(driver, proxy.url)))
        assert ask(connection, "select 1") == 1
        # The collector looks at its parts in another order once it has let them live.
        gc.collect()
        proxy.reset()
        with pytest.raises(StoreUnavailable):
            ask(connection, "select 2")
        connection.close()
        del connection
        gc.collect()
    assert complaints == []


def test_a_login_that_cannot_be_sent_leaves_nothing_to_send():
    """Python's collector would try it once more, and complain."""

    def unsent() -> int:
        found = (each for each in gc.get_objects() if isinstance(each, io.BufferedRWPair))
        return sum(not each.closed for each in found)

    module = importlib.import_module("simpleworkflow.backends.pg8000")
    before = unsent()
    ours, others = socket.socketpair()
    others.close()
    with ours, pytest.raises(module.Error) as told:
        module._Session(sock=ours, ssl_context=False, user="anna", password="")
    assert unsent() == before, told


def test_an_answer_that_comes_in_pieces_is_waited_for(driver, one_server):
    """The limit is on silence, not on the whole: a slow network may carry large payloads."""
    slow = "select repeat('x', 1000000), pg_sleep(0.3)::text from generate_series(1, 6)"
    with session(driver, one_server.url, options="-c statement_timeout=5s") as connection:
        connection.answer_timeout = 1.2
        assert len(connection.fetch(slow, {})) == 6


def test_a_lock_that_is_not_granted_in_time_is_an_unavailable_database(driver, ready_url, server):
    """The server says so itself; when the lock is free, the statement works."""
    url = for_driver(driver, ready_url, options=SHORT)
    with contextlib.closing(open_store(url)) as store:
        run_id = submit(store)
        with server.connect() as other, other.transaction():
            other.execute(f"lock table {schema_of(ready_url)}.workflow_run")
            with pytest.raises(StoreUnavailable, match="statement timeout"):
                store.cancel([run_id])
        assert store.cancel([run_id]) == [Status.CANCELLED]


def test_a_migration_may_take_longer(driver, one_database_url, short_margin, monkeypatch):
    """Neither the server nor we give it up; the limits are back afterwards."""
    slow = migrations.Migration(9_999, "9999_slow", "select pg_sleep(1);")
    known = (*migrations.all_migrations(), slow)
    monkeypatch.setattr(migrations, "all_migrations", lambda: known)
    address = parse_url(for_driver(driver, one_database_url))
    with session(driver, one_database_url, options=SHORT) as connection:
        assert migrations.migrate(connection, address)[-1] == "9999_slow"
        assert connection.answer_timeout == 0.6
        with pytest.raises(StoreUnavailable, match="statement timeout"):
            connection.run_script("select pg_sleep(1)")


@pytest.mark.parametrize(
    ("sqlstate", "words"),
    [
        ("53100", "could not extend file: No space left on device"),
        ("53300", "sorry, too many clients already"),
        ("57P01", "terminating connection due to administrator command"),
        ("57P02", "terminating connection because of crash of another server process"),
        ("57P03", "the database system is starting up"),
    ],
)
def test_a_server_in_trouble_is_an_unavailable_database(driver, one_server, sqlstate, words):
    """Waiting may help, and what the server says is passed on."""
    with session(driver, one_server.url) as connection:
        script = f"do $$ begin raise '{words}' using errcode = '{sqlstate}'; end $$"
        with pytest.raises(StoreUnavailable, match=f"is unavailable: .*{words}"):
            connection.run_script(script)


def test_too_many_connections_are_an_unavailable_database(driver, one_server):
    """Until somebody ends one."""
    with one_server.connect() as connection:
        connection.execute(f"create role narrow login password '{SECRET}' connection limit 1")
        try:
            parts = urlsplit(one_server.url)
            netloc = f"narrow:{SECRET}@{parts.hostname}:{parts.port}"
            url = parts._replace(netloc=netloc).geturl()
            with session(driver, url), pytest.raises(StoreUnavailable, match="too many conn"):
                connect(driver, url)
        finally:
            connection.execute("drop role narrow")


# Values

TEXTS = [
    "null",
    "NULL",
    "Null",
    '"',
    "'",
    "\\",
    '\\"',
    "\\N",
    "{}",
    "{a,b}",
    ",",
    " ",
    " a ",
    "\t\n\r\v\f",
    "%s %(x)s :x $1 $$",
    "-- /* */ ;",
    "\x01\x7f\x85\u2028\ufeff\ufffe\uffff",
    "aßłЖ漢字🜁\U0001f600\U0010ffff",
    "e\u0301 \u202e",
    "x" * 300,
]
texts = st.sampled_from(TEXTS) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=20
)


@settings(
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    texts=st.tuples(texts, texts, texts, texts),
    payload=json_values,
    result=json_values,
    headers=st.dictionaries(texts, json_values, max_size=2),
)
@example(texts=("null", "null", "null", "null"), payload=None, result=None, headers={})
@example(texts=("NULL", "NULL", "NULL", "NULL"), payload="null", result="NULL", headers={})
@example(texts=("\\", '"', "'", "{"), payload='\\"{},', result="", headers={"": ""})
def test_values_travel_alike(both, texts, payload, result, headers):
    """Through either driver as through memory: types, keys, names, errors, payloads, results."""
    type_, key, worker, error = texts
    key += str(uuid.uuid4())
    clock = FakeClock()
    type_ = type_.replace("%", "_")
    # Keys in the order of jsonb, numbers as it writes them.
    held = (canonical_json(encode_json(v, "value"), "value") for v in (payload, result, headers))
    expected = json.dumps([json.loads(text) for text in held])
    stores = [*both, MemoryStore(clock)]
    for sender, receiver in ((both[0], both[1]), (both[1], both[0]), (stores[2], stores[2])):
        id_ = str(uuid.uuid4())
        new = new_run(
            id_, type_, payload, idempotency_key=key + id_, headers=headers, max_attempts=9
        )
        assert [answer.created for answer in sender.submit([new, new])] == [True, False]
        [claimed] = receiver.claim(Route.of([type_]), 10, worker, LEASE)
        retried = Settlement(
            claimed, Move.RETRY, 1, delay=timedelta(0), error=error, ran=timedelta(seconds=1.5)
        )
        assert verdict_of(sender, retried) is Verdict.APPLIED
        [claimed] = sender.claim(Route.of([type_]), 10, worker, LEASE)
        new = new_run(id_, type_, result)  # Its payload is JSON text.
        assert verdict_of(receiver, succeeded(claimed, new.payload_json)) is Verdict.APPLIED
        found = [store.get(id_) for store in ((stores[2],) if sender is stores[2] else both)]
        assert found[0] == found[-1]
        run = found[0]
        assert (run.type, run.last_error, run.idempotency_key) == (type_, error, key + id_)
        assert json.dumps([run.payload, run.result, run.headers]) == expected
        histories = [store.events(id_) for store in (sender, receiver)]
        assert histories[0] == histories[1]
        assert histories[0][2].data["error"] == error
        assert {event.data.get("worker_id") for event in histories[0]} == {None, worker}


class Name(StrEnum):
    """Text that is more than text."""

    THUMB = "media.thumb.v1"


def test_text_of_a_class_of_its_own_is_text(store):
    """Programs keep their types in enumerations."""
    run_id = submit(store, Name.THUMB, idempotency_key=Name.THUMB)
    [claimed] = store.claim(Route.of([Name.THUMB]), 1, Name.THUMB, LEASE)
    assert (claimed.run_id, claimed.type) == (run_id, "media.thumb.v1")
    assert store.get(run_id).leased_by == "media.thumb.v1"
    assert store.extend([Extension(claimed, LEASE)]) == [Hold.KEPT]


@pytest.mark.parametrize("priority", [-(2**31), -1, 0, 2**31 - 1])
def test_numbers_travel_alike(both, priority):
    """At the edges of what the columns hold."""
    fields = {"priority": priority, "max_attempts": 2**31 - 1}
    ids = [submit(store, **fields) for store in both]
    for store in both:
        for id_ in ids:
            run = store.get(id_)
            assert (run.priority, run.max_attempts) == (priority, 2**31 - 1)


@pytest.mark.parametrize(
    "run_at",
    [
        datetime(1, 1, 4, tzinfo=UTC),
        datetime(999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2030, 1, 1, 12, 0, 0, 1, tzinfo=UTC),
        datetime(9999, 12, 29, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
    ids=str,
)
def test_instants_travel_alike(both, run_at):
    """Microsecond by microsecond, over all years that Python knows."""
    ids = [submit(store, run_at=run_at) for store in both]
    assert [store.get(id_).run_at for store in both for id_ in ids] == [run_at] * 4


@pytest.mark.parametrize("infinite", ["-infinity", "infinity"])
def test_rows_without_a_real_time_are_read(both, server, ready_url, infinite):
    """Other programs write them; one due since ever is executed, one due never is not."""
    with server.connect() as connection:
        connection.execute(
            f"insert into {schema_of(ready_url)}.workflow_run (type, payload, run_at)"
            f" values ('a', '{{}}', '{infinite}')"
        )
    runs = [store.runs(EVERYTHING, 10) for store in both]
    assert runs[0] == runs[1]
    claims = [store.claim(EVERYTHING, 10, "worker-a", LEASE) for store in both]
    assert [len(claimed) for claimed in claims] == ([1, 0] if infinite == "-infinity" else [0, 0])
    if claims[0]:
        assert claims[0][0].waited == float("inf")
        assert verdict_of(both[1], succeeded(claims[0][0])) is Verdict.APPLIED


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/St_Johns", "Etc/GMT+12"])
def test_the_time_zone_of_a_session_changes_nothing(driver, ready_url, zone):
    """Instants come back as they were given, in UTC."""
    run_at = datetime(2031, 7, 1, 1, 2, 3, 456_789, tzinfo=UTC)
    url = for_driver(driver, ready_url, options=f"-c timezone={zone}")
    with contextlib.closing(open_store(url)) as store:
        run = store.get(submit(store, run_at=run_at))
        assert run.run_at == run_at
        assert run.run_at.tzinfo is UTC
        assert abs(run.created_at - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("style", ["German", "SQL, DMY", "Postgres, MDY"])
def test_a_database_that_writes_dates_its_own_way_is_read_right(driver, server, style):
    """Its setting is for people; ours is for programs."""
    run_at = datetime(2031, 2, 1, 1, 2, 3, 456_789, tzinfo=UTC)
    with _database(server, "") as url:
        with server.connect() as connection:
            connection.execute(f"alter database {urlsplit(url).path[1:]} set datestyle = {style}")
        with contextlib.closing(open_store(for_driver(driver, url))) as store:
            store.migrate()
            assert store.get(submit(store, run_at=run_at)).run_at == run_at


def test_a_database_that_cannot_hold_every_text_is_refused(driver, server):
    """Before the first run, and not at the first letter that is missing."""
    with _database(server, "encoding 'LATIN1' locale 'C' template template0") as url:
        for use in (migrate, lambda url: open_store(url).get(str(uuid.uuid4()))):
            with pytest.raises(UsageError, match=r"encoding LATIN1.*encoding 'UTF8'"):
                use(for_driver(driver, url))


@pytest.mark.parametrize("encoding", ["UTF8", "SQL_ASCII"])
def test_the_encoding_of_a_database_changes_no_text(driver, server, encoding):
    """What it can hold comes back as it was given."""
    with (
        _database(server, f"encoding '{encoding}' locale 'C' template template0") as url,
        contextlib.closing(open_store(for_driver(driver, url))) as store,
    ):
        store.migrate()
        run_id = submit(store, "façade", {"é": "ü"})
        claimed = claim_one(store, "wörker")
        run = store.get(run_id)
        assert (claimed.type, run.leased_by, run.payload) == ("façade", "wörker", {"é": "ü"})


@contextlib.contextmanager
def _database(server, properties):
    """The URL of a new database on this server, dropped afterwards."""
    name = f"d_{uuid.uuid4().hex[:12]}"
    with server.connect() as connection:
        connection.execute(f"create database {name} {properties}")
        try:
            url = urlsplit(server.url)._replace(path=f"/{name}").geturl()
            yield with_schema(url, "workflow")
        finally:
            connection.execute(f"drop database {name} with (force)")


UNSTORABLE = {
    "NUL": ("select :value::text", "a\x00b"),
    "lone surrogate": ("select :value::text", "a\ud800b"),
    "NUL in a list": ("select :value::text[]", ["a", "a\x00b"]),
    "lone surrogate in a list": ("select :value::text[]", ["a", "a\ud800b"]),
    "broken JSON": ("select :value::jsonb", '{"a": '),
    "NUL in JSON": ("select :value::jsonb", '"\\u0000"'),
    "no number": ("select :value::int", "a"),
    "too large a number": ("select :value::text::int", "3000000000"),
}


@pytest.mark.parametrize("may_prepare", [True, False])
@pytest.mark.parametrize(("question", "value"), UNSTORABLE.values(), ids=UNSTORABLE)
def test_what_a_database_cannot_hold_is_refused(driver, one_server, question, value, may_prepare):
    """As data that are refused, whether the driver or the server says so; nothing is left over."""
    address = parse_url(for_driver(driver, one_server.url))
    module = importlib.import_module(f"simpleworkflow.backends.{driver}")

    def begin():
        connection = open_session(module, address)
        connection.may_prepare = may_prepare
        return connection

    pool = Pool(begin, 1)
    with contextlib.closing(pool):
        for _ in range(2):
            with pytest.raises(DataRefused), pool.connection() as connection:
                connection.fetch(question, {"value": value})
            with pool.connection() as connection:
                assert ask(connection, "select :value::text", value="null") == "null"


@pytest.mark.parametrize("bad", ["a\x00b", "a\ud800b", '{"a": ', '"\\u0000"', "[" * 100_000])
def test_a_result_that_cannot_be_stored_harms_no_other(store, bad):
    """Its verdict says so, its lease is still held, and the others of the group are written."""
    for _ in range(3):
        submit(store)
    claims = store.claim(EVERYTHING, 3, "worker-a", LEASE)
    group = [succeeded(claim) for claim in claims]
    group[1] = group[1]._replace(result_json=bad)
    answers = store.settle(group)
    assert [answer.verdict for answer in answers] == ["applied", "unstorable", "applied"]
    assert answers[1].reason
    assert store.extend([Extension(claims[1], LEASE)]) == [Hold.KEPT]


# Poolers


@pytest.fixture(params=["extra_float_digits", "options,extra_float_digits"])
def pooler(request, one_server):
    """A PgBouncer with one session that refuses the start-up parameter `options`, or drops it."""
    try:
        with PgBouncer(one_server, pool_size=1, ignored=request.param) as running:
            yield running
    except Unavailable as reason:
        pytest.skip(str(reason))


def test_nothing_is_prepared_behind_a_pooler(driver, pooler, one_database_url):
    """Every operation works there, on a session that clients share."""
    with contextlib.closing(open_store(one_database_url)) as direct:
        direct.migrate()
    url = pooler.lead(one_database_url)
    module = importlib.import_module(f"simpleworkflow.backends.{driver}")
    address = parse_url(for_driver(driver, url))
    with contextlib.closing(open_session(module, address)) as connection:
        assert connection.may_prepare is False
        assert connection.answer_timeout == 15
    stores = [open_store(for_driver(driver, url)) for _ in range(3)]
    for n in range(12):
        one, two, three = stores[n % 3], stores[(n + 1) % 3], stores[(n + 2) % 3]
        run_id = submit(one, payload="null", idempotency_key=f"null-{n}")
        again = two.submit([new_run(str(uuid.uuid4()), "a", {}, idempotency_key=f"null-{n}")])
        assert again[0].id == run_id
        claimed = claim_one(three)
        assert two.extend([Extension(claimed, LEASE)]) == [Hold.KEPT]
        bad = succeeded(claimed, '"\\u0000"')
        assert verdict_of(one, bad) is Verdict.UNSTORABLE
        assert verdict_of(two, succeeded(claimed)) is Verdict.APPLIED
        assert one.get(run_id).result_json == "null"
        assert three.rescue(EVERYTHING, 10, "worker-b", LEASE) == []
        assert two.cancel([run_id]) == [Status.SUCCEEDED]
        assert len(three.events(run_id)) == 3
    for store in stores:
        store.close()


def test_an_empty_database_is_told_behind_a_pooler(driver, pooler, one_database_url):
    """An error of the server is the same error there, and the next statement works."""
    url = pooler.lead(one_database_url)
    with contextlib.closing(open_store(for_driver(driver, url))) as store:
        for _ in range(2):
            with pytest.raises(SchemaNotReady, match="simpleworkflow migrate"):
                submit(store)


def test_many_threads_share_one_session_behind_a_pooler(driver, pooler, one_database_url):
    """Statements of several clients never mix."""
    with contextlib.closing(open_store(one_database_url)) as direct:
        direct.migrate()
    url = pooler.lead(one_database_url)
    errors = []

    def work(name):
        with contextlib.closing(open_store(for_driver(driver, url))) as store:
            try:
                for n in range(10):
                    run_id = submit(store, f"t.{name}", {"n": n})
                    [claimed] = store.claim(Route.of([f"t.{name}"]), 10, name, LEASE)
                    assert claimed.run_id == run_id
                    assert verdict_of(store, succeeded(claimed)) is Verdict.APPLIED
            except BaseException as exc:
                errors.append(exc)

    threads = [Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
