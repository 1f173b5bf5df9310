"""Ports for servers of our own that have to be told one before they start."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

BELOW_CONNECTIONS = range(20_000, 30_000)


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens, for use within some seconds.

    It is none of those that the kernel gives to connections, one of which might have it by then.
    """
    while True:
        port = random.choice(BELOW_CONNECTIONS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
