"""Opens sockets as libpq does, for a driver that is not built on it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Literal

from simpleworkflow.backends.postgres.driver import (
    CONNECT_TIMEOUT,
    KEEPALIVE_COUNT,
    KEEPALIVE_IDLE,
    KEEPALIVE_INTERVAL,
    NO_HOST,
    PEER_TIMEOUT,
)
from simpleworkflow.backends.postgres.url import Address
from simpleworkflow.core.errors import UsageError

_KNOWN = {
    "application_name", "connect_timeout", "dbname", "host", "options", "password", "port",
    "sslcert", "sslkey", "sslmode", "sslpassword", "sslrootcert", "user",
}  # fmt: skip
_TCP_OPTIONS = {
    # Without it a large statement waits 40 ms for the acknowledgement of its first part.
    socket.TCP_NODELAY: 1,
    socket.TCP_KEEPIDLE: KEEPALIVE_IDLE,
    socket.TCP_KEEPINTVL: KEEPALIVE_INTERVAL,
    socket.TCP_KEEPCNT: KEEPALIVE_COUNT,
    socket.TCP_USER_TIMEOUT: 1_000 * PEER_TIMEOUT,
}
_FILES = ("sslrootcert", "sslcert", "sslkey")
_SOCKET_FOLDER = "/var/run/postgresql"


def read(address: Address) -> dict[str, str]:
    """Return the parameters of a URL.

    Raises:
        UsageError: it has one that is not known here, or names several hosts.
    """
    parameters = address.parameters()
    problem = ""
    if unknown := parameters.keys() - _KNOWN:
        problem = f"has {', '.join(sorted(unknown))}, which this driver does not know"
    elif "," in host_of(parameters):
        problem = "names several hosts, of which this driver takes one"
    if problem:
        raise UsageError(
            f"the database URL {address} {problem}: change it, or use postgresql+psycopg://"
        )
    return parameters


def host_of(parameters: Mapping[str, str]) -> str:
    """Return the host, or the folder of a Unix socket."""
    return parameters.get("host", _SOCKET_FOLDER)


def open_socket(parameters: Mapping[str, str]) -> socket.socket:
    """Connect; the time limit of the URL stays on the socket.

    Raises:
        OSError: nobody answers there.
    """
    host, port = host_of(parameters), int(parameters.get("port", 5432))
    seconds = int(parameters.get("connect_timeout", CONNECT_TIMEOUT))
    timeout = seconds if seconds > 0 else None
    if host.startswith("/"):
        return _open_unix_socket(f"{host}/.s.PGSQL.{port}", timeout)
    try:
        sock = socket.create_connection((host, port), timeout)
    except UnicodeError as exc:
        raise OSError(f"{NO_HOST}: {exc}") from exc
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _TCP_OPTIONS.items():
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return sock


def _open_unix_socket(path: str, timeout: int | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(path)
    except OSError as exc:
        sock.close()
        raise OSError(f"{path}: {exc}") from exc
    return sock


def tls_context(parameters: Mapping[str, str]) -> ssl.SSLContext | Literal[False] | None:
    """Return what `sslmode` asks for: a context, False for no TLS, None for TLS where offered.

    As with libpq, `require` verifies the certificate too when `sslrootcert` is given, and a Unix
    socket has no TLS. Unlike there, the authorities of the system are trusted when it is not given,
    nothing is read from the home folder, and `allow` is `prefer`.

    Raises:
        OSError: a certificate or key cannot be read; the message names the files.
    """
    mode = parameters.get("sslmode", "prefer")
    if mode == "disable" or host_of(parameters).startswith("/"):
        return False
    if mode in ("allow", "prefer"):
        return None
    try:
        return _context(mode, parameters)
    except OSError as exc:
        files = ", ".join(f"{name}={parameters[name]}" for name in _FILES if name in parameters)
        raise OSError(f"{exc} ({files})") from exc


def _context(mode: str, parameters: Mapping[str, str]) -> ssl.SSLContext:
    # Not create_default_context(), whose newer versions refuse certificates that libpq takes.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    root = parameters.get("sslrootcert")
    context.check_hostname = mode == "verify-full" or root == "system"
    if mode == "require" and root is None:
        context.verify_mode = ssl.CERT_NONE
    elif root in (None, "system"):
        context.load_default_certs()
    else:
        context.load_verify_locations(root)
    if certificate := parameters.get("sslcert"):
        # A password even when there is none: OpenSSL would ask for one at the terminal.
        password = parameters.get("sslpassword", "")
        context.load_cert_chain(certificate, parameters.get("sslkey"), password)
    return context
