"""Wakes the claiming thread. A signal handler may ring it at any moment."""

from __future__ import annotations

import os
import select
from contextlib import suppress


class Bell:
    """Rung by anyone, waited for by one thread, also together with a socket.

    A signal handler interrupts the very thread that waits. `threading.Event` would lock up then:
    its lock may be held by the code below the handler. Here every step is a single one: the flag
    says whether it rings, and a byte in a pipe wakes who waits.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._is_rung = False

    def __del__(self) -> None:
        # Not earlier: a late stop() may still ring.
        os.close(self._reader)
        os.close(self._writer)

    @property
    def is_rung(self) -> bool:
        """Whether it was rung since it was last silenced."""
        return self._is_rung

    def ring(self) -> None:
        """Wake who waits, or the next one that does."""
        if not self._is_rung:
            self._is_rung = True
            os.write(self._writer, b"!")

    def silence(self) -> None:
        """Forget that it was rung."""
        # The flag first: a ring in between then leaves it raised, and wait() looks at it.
        self._is_rung = False
        with suppress(BlockingIOError):
            os.read(self._reader, 64)

    def wait(self, seconds: float, *, also: int | None = None) -> bool:
        """Wait until it rings, or the file number `also` can be read; say whether that can.

        Returns after `seconds` at the latest.
        """
        if self._is_rung:
            return False
        poll = select.poll()
        for file_number in (self._reader, also):
            if file_number is not None:
                poll.register(file_number, select.POLLIN)
        ready = poll.poll(max(0.0, seconds) * 1_000)
        return any(file_number == also for file_number, _ in ready)
