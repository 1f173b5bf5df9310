"""A TCP proxy before a server, which a test makes fail as networks do."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

CHUNK = 65_536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER of a socket whose close is an RST, and no orderly end."""


class Proxy:
    """Leads to the server of a URL, as a context manager; `url` is the same URL through it."""

    def __init__(self, target_url: str) -> None:
        """Listen on a free port of 127.0.0.1."""
        target = urlsplit(target_url)
        self._target = (target.hostname or "", target.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        login = "".join(target.netloc.rpartition("@")[:2])
        port = self._listener.getsockname()[1]
        self.url = target._replace(netloc=f"{login}127.0.0.1:{port}").geturl()
        self._changed = threading.Condition()
        self._is_flowing = True
        self._links: list[_Link] = []
        self._silent: list[socket.socket] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def blackhole(self) -> None:
        """Hold back all bytes in both directions; new connections get no answer."""
        with self._changed:
            self._is_flowing = False

    def resume(self) -> None:
        """Let go on what was held back, as TCP does when a network is back."""
        with self._changed:
            self._is_flowing = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Close the server's side of all connections; the clients' stay open and silent for ever.

        As behind a balancer that forgot them. New connections work.
        """
        for link in self._end_links():
            link.close_server()
            self._silent.append(link.client)

    def reset(self) -> None:
        """Close all connections at once, by RST. New connections work."""
        for link in self._end_links():
            link.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            link.close_server()
            link.client.close()

    def close(self) -> None:
        """Accept no more and close all connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.reset()
        for client in self._silent:
            client.close()

    def __enter__(self) -> Proxy:
        """It serves already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, as `close()` does."""
        self.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                link = _Link(self._listener.accept()[0])
                link.thread = threading.Thread(target=self._serve, args=(link,), daemon=True)
                with self._changed:
                    self._links.append(link)
                    link.thread.start()

    def _serve(self, link: _Link) -> None:
        if self._may_pass(link):
            with suppress(OSError):
                self._carry_both_ways(link, socket.create_connection(self._target))
        with self._changed:
            if not link.is_over:
                self._links.remove(link)
                link.close_server()
                link.client.close()

    def _carry_both_ways(self, link: _Link, server: socket.socket) -> None:
        with self._changed:
            if link.is_over:
                server.close()
                return
            link.server = server
        back = threading.Thread(target=self._carry, args=(link, server, link.client), daemon=True)
        back.start()
        self._carry(link, link.client, server)
        back.join()

    def _carry(self, link: _Link, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if not self._may_pass(link):
                    return
                sink.sendall(data)
        if self._may_pass(link):
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

    def _may_pass(self, link: _Link) -> bool:
        """Wait while bytes are held back; say whether the link is still there."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_flowing or link.is_over)
            return not link.is_over

    def _end_links(self) -> list[_Link]:
        """Stop carrying, without a word to either side."""
        with self._changed:
            links, self._links = self._links, []
            for link in links:
                link.is_over = True
            self._changed.notify_all()
        for link in links:
            link.stop()
        return links


class _Link:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.server: socket.socket | None = None
        self.thread: threading.Thread
        self.is_over = False

    def stop(self) -> None:
        """Wake who reads, and wait: a socket in use by another thread would not be closed."""
        for end in (self.client, self.server):
            with suppress(OSError, AttributeError):
                end.shutdown(socket.SHUT_RD)
        # Who writes to a side that does not read is not woken.
        self.thread.join(1)

    def close_server(self) -> None:
        if self.server is not None:
            self.server.close()
