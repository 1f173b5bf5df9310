"""The proxy that other tests break: what it does to connections is what it says."""

from __future__ import annotations

import socket
from contextlib import closing
from threading import Thread
from urllib.parse import urlsplit

import pytest
from proxy import Proxy

SILENCE = 0.2
"""Seconds in which nothing must come."""


@pytest.fixture
def echo():
    """The URL of a server that sends back what it is sent."""

    def serve(listener):
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            Thread(target=answer, args=(peer,), daemon=True).start()

    def answer(peer):
        with peer:
            while data := peer.recv(1_000):
                peer.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"postgresql://u:p%20w@127.0.0.1:{listener.getsockname()[1]}/d?search_path=s"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.fixture
def proxy(echo):
    """A proxy before it."""
    with Proxy(echo) as running:
        yield running


def dial(proxy):
    """A new connection through the proxy, closed with the block."""
    return closing(socket.create_connection(("127.0.0.1", urlsplit(proxy.url).port), timeout=10))


def exchange(client, word):
    """What the server sends back."""
    client.sendall(word)
    return client.recv(1_000)


def is_silent(client):
    """Whether nothing comes, and no end of it."""
    client.settimeout(SILENCE)
    try:
        client.recv(1)
    except TimeoutError:
        client.settimeout(10)
        return True
    return False


def test_the_url_differs_in_its_place_alone(proxy, echo):
    """Login, database and schema stay."""
    before, after = urlsplit(echo), urlsplit(proxy.url)
    assert before.port != after.port
    assert proxy.url == echo.replace(str(before.port), str(after.port))


def test_what_was_held_back_goes_on(proxy):
    """Nothing is lost in a black hole, neither bytes nor a new connection."""
    with dial(proxy) as old:
        assert exchange(old, b"one") == b"one"
        proxy.blackhole()
        with dial(proxy) as new:
            for client in (old, new):
                client.sendall(b"two")
                assert is_silent(client)
            proxy.resume()
            for client in (old, new):
                assert client.recv(1_000) == b"two"


def test_an_abandoned_client_hears_nothing_ever(proxy):
    """Its bytes are taken, and no answer and no end come; a new connection works."""
    with dial(proxy) as old:
        assert exchange(old, b"one") == b"one"
        proxy.abandon()
        old.sendall(b"two")
        assert is_silent(old)
    with dial(proxy) as new:
        assert exchange(new, b"three") == b"three"


@pytest.mark.parametrize("is_dark", [False, True])
def test_a_reset_is_told_to_the_client(proxy, is_dark):
    """At once, in a black hole too; a new connection works."""
    with dial(proxy) as old:
        assert exchange(old, b"one") == b"one"
        if is_dark:
            proxy.blackhole()
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            old.recv(1)
    proxy.resume()
    with dial(proxy) as new:
        assert exchange(new, b"two") == b"two"


def test_an_end_is_passed_on(proxy):
    """The server sees that the client has ended, and ends as well."""
    with dial(proxy) as client:
        assert exchange(client, b"one") == b"one"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
