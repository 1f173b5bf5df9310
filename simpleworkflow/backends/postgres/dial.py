"""Finds and reaches servers as libpq does, for a driver that is not built on it."""

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
    "sslcert", "sslkey", "sslmode", "sslpassword", "sslrootcert", "target_session_attrs", "user",
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


def attempts(address: Address) -> list[dict[str, str]]:
    """Return the URL's parameters for each attempt to connect, in order: one host, one wish.

    Raises:
        UsageError: it has one that is not known here, or neither one port nor one for each host.
    """
    parameters = address.parameters()
    if unknown := parameters.keys() - _KNOWN:
        raise UsageError(
            f"the database URL {address} has {', '.join(sorted(unknown))}, which this driver does "
            "not know: change it, or use postgresql+psycopg://"
        )
    hosts, ports = (parameters.get(name, "").split(",") for name in ("host", "port"))
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        raise UsageError(
            f"the database URL {address} has {len(ports)} ports for {len(hosts)} hosts: give one "
            "for all, or one for each"
        )
    wish = parameters.get("target_session_attrs", "any")
    return [
        {**parameters, "host": host, "port": port, "target_session_attrs": asked}
        for asked in (("standby", "any") if wish == "prefer-standby" else (wish,))
        for host, port in zip(hosts, ports, strict=True)
    ]


def why_not(parameters: Mapping[str, str], is_standby: bool, is_read_only: bool) -> str:
    """Return what keeps a session from being what `target_session_attrs` asks for, "" if nothing.

    Args:
        parameters: of one attempt, which does ask for something.
        is_standby: whether the server follows another.
        is_read_only: whether the session may not write, as on a standby.
    """
    return {
        "read-write": "it is read-only" if is_read_only else "",
        "read-only": "" if is_read_only else "it is not read-only",
        "primary": "it is a standby" if is_standby else "",
        "standby": "" if is_standby else "it is not a standby",
    }[parameters["target_session_attrs"]]


def host_of(parameters: Mapping[str, str]) -> str:
    """Return the host, or the folder of a Unix socket."""
    return parameters.get("host") or _SOCKET_FOLDER


def place_of(parameters: Mapping[str, str]) -> str:
    """Return the host and port of an attempt, for messages."""
    return f"{host_of(parameters)}:{_port_of(parameters)}"


def _port_of(parameters: Mapping[str, str]) -> int:
    return int(parameters.get("port") or 5432)


def time_limit(parameters: Mapping[str, str]) -> int | None:
    """Return the seconds after which an attempt is given up, None for never."""
    seconds = int(parameters.get("connect_timeout", CONNECT_TIMEOUT))
    return seconds if seconds > 0 else None


def open_socket(parameters: Mapping[str, str]) -> socket.socket:
    """Connect to one host; the time limit of the URL stays on the socket.

    Raises:
        OSError: nobody answers there.
    """
    host, port, timeout = host_of(parameters), _port_of(parameters), time_limit(parameters)
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
