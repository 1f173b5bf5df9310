"""The servers the tests run on are real, and a schema lasts for one test."""

from __future__ import annotations

from urllib.parse import urlsplit

import psycopg
import pytest
from replication import primary_and_standby
from servers import Unavailable, schema_of, with_schema, without_schema


def test_every_server_answers(server):
    """Each server is of the version its tests are meant for."""
    assert server.version >= 13
    assert server.name.startswith((f"pg{server.version}-", "given-url"))


def test_a_schema_is_new_and_not_created(server, database_url):
    """A test starts without its schema, so that it can create it."""
    with server.connect() as connection:
        found = connection.execute("select to_regnamespace(%s)", [schema_of(database_url)])
        assert found.fetchone() == (None,)


def test_a_schema_is_dropped_with_all_it_holds(server):
    """What a test created is gone after it."""
    with server.fresh_schema() as url, server.connect() as connection:
        schema = schema_of(url)
        connection.execute(f'create schema "{schema}" create table leftover (id int)')
    with server.connect() as connection:
        assert connection.execute("select to_regnamespace(%s)", [schema]).fetchone() == (None,)


def test_a_server_of_ones_own_restarts(own_server):
    """A test may stop its own server, and finds its data on the same port afterwards."""
    url = own_server.url
    with own_server.connect() as connection:
        connection.execute("create table kept (id int)")
    own_server.restart("immediate")
    own_server.stop()
    own_server.start()
    assert own_server.url == url
    with own_server.connect() as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (0,)


def test_the_schema_is_one_part_of_a_url():
    """Setting and removing the schema leaves the rest of a URL as it was."""
    url = "postgresql://u:p@h:1/d?sslmode=require"
    assert without_schema(with_schema(url, "s")) == url
    assert schema_of(with_schema(with_schema(url, "s"), "t")) == "t"


def test_a_promoted_standby_has_what_its_primary_had_committed(server):
    """And takes writes, waiting for no other server."""
    try:
        with primary_and_standby(server) as pair:
            with pair.primary.connect() as connection:
                connection.execute("create table kept as select 1 as n")
            pair.stop_primary()
            pair.promote()
            with psycopg.connect(pair.url, autocommit=True) as connection:
                assert connection.info.port == urlsplit(pair.standby.url).port
                connection.execute("insert into kept values (2)")
                assert connection.execute("select sum(n) from kept").fetchall() == [(3,)]
    except Unavailable as reason:
        pytest.skip(str(reason))
