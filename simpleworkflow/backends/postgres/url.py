"""Reads a database URL: what is ours (the schema), and what the driver is to connect to."""

from __future__ import annotations

import os
import re
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from attrs import field, frozen

from simpleworkflow.core.errors import UsageError

DEFAULT_SCHEMA = "workflow"

_SCHEMA_PARAMETERS = ("search_path", "schema")
_SCHEMA_NAME = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")
_SECRETS = (
    "password",
    "sslpassword",
    "oauth_client_secret",
    "scram_client_key",
    "scram_server_key",
)
_USER = re.compile(r"([^@%\[\]\s]|%[0-9a-fA-F]{2})*@|")
_HOST = re.compile(r"([^@:\[\]\s]*|\[[^@\[\]\s]*\])(?::([0-9]*))?")
_NUMBERS = {"port": re.compile(r"[0-9]{1,5}"), "connect_timeout": re.compile(r"-?[0-9]{1,9}")}
_CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": (
        "any", "read-write", "read-only", "primary", "standby", "prefer-standby"
    ),
}  # fmt: skip

_FROM_ENVIRONMENT = {
    "dbname": "PGDATABASE",
    "host": "PGHOST",
    "password": "PGPASSWORD",
    "port": "PGPORT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "user": "PGUSER",
}
"""What libpq takes from the environment when the URL does not say it."""

_UNSENDABLE = re.compile("[\x00\ud800-\udfff]")
_HARD_TO_READ = (
    "the database URL cannot be read: it must be postgresql://user:password@host:port/database, "
    "with special characters of the user and password written as %XX, as "
    "urllib.parse.quote(password, safe='') does it"
)


@frozen
class Address:
    """A database and the schema of our tables in it; its repr and str carry no secret.

    Args:
        url: the URL for the driver, `postgresql://…`, without our own parameters.
        schema: the schema, validated; `workflow` unless the URL names another.
    """

    url: str = field(repr=False)
    schema: str

    @property
    def shown(self) -> str:
        """The whole URL without its passwords, for messages."""
        if self.schema == DEFAULT_SCHEMA:
            return self.without_secrets
        joint = "&" if "?" in self.without_secrets else "?"
        return f"{self.without_secrets}{joint}search_path={self.schema}"

    @property
    def without_secrets(self) -> str:
        """The URL for the driver without its passwords."""
        parts = urlsplit(self.url)
        user, at, hosts = parts.netloc.rpartition("@")
        netloc = user.partition(":")[0] + at + hosts
        query = [(k, v) for k, v in _query(parts.query) if k not in _SECRETS]
        return _joined(netloc, parts.path, urlencode(query, safe="/,", quote_via=quote))

    @property
    def quoted_schema(self) -> str:
        """The schema as a quoted SQL identifier."""
        return f'"{self.schema}"'

    def __str__(self) -> str:
        return self.shown

    def parameters(self) -> dict[str, str]:
        """Return the URL by libpq's names, unset ones from the environment, as libpq reads it.

        Raises:
            UsageError: a value cannot be what its name says.
        """
        parts = urlsplit(self.url)
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        # Not parts.hostname, which loses the capitals of a socket's folder.
        places = [_HOST.fullmatch(place) for place in hosts.split(",")]
        ports = [place[2] or "" for place in places if place]
        asked = {
            "user": unquote(user),
            "password": unquote(password),
            "host": ",".join(unquote(place[1]).strip("[]") for place in places if place),
            "port": ",".join(ports) if any(ports) else "",
            "dbname": unquote(parts.path.removeprefix("/")),
            **dict(_query(parts.query)),
        }
        usual = {name: os.environ.get(key, "") for name, key in _FROM_ENVIRONMENT.items()}
        found = {**usual, **{name: value for name, value in asked.items() if value}}
        for name, value in found.items():
            self._check(name, value)
        return {name: value for name, value in found.items() if value}

    def _check(self, name: str, value: str) -> None:
        if _UNSENDABLE.search(value):
            raise UsageError(f"{name} in the database URL {self} has a NUL or a lone surrogate")
        number = _NUMBERS.get(name)
        if number and not all(not part or number.fullmatch(part) for part in value.split(",")):
            raise UsageError(f"{name}={value!r} in the database URL {self} must be a whole number")
        if name == "port" and any(int(part or 0) > 65_535 for part in value.split(",")):
            raise UsageError(f"port={value} in the database URL {self} must be at most 65535")
        if name in _CHOICES and value and value not in _CHOICES[name]:
            raise UsageError(
                f"{name}={value!r} in the database URL {self} must be one of "
                f"{', '.join(_CHOICES[name])}"
            )


def parse_url(url: str) -> Address:
    """Read `postgres://`, `postgresql://` or `postgresql+driver://` with an optional schema.

    Raises:
        UsageError: it cannot be read, a value in it is none, the schema's name is not one, or the
            URL names two.
    """
    parts = _split(url)
    query = _query(parts.query)
    names = {value.strip() for key, value in query if key in _SCHEMA_PARAMETERS}
    if len(names) > 1:
        raise UsageError(f"the database URL names several schemas, {sorted(names)}: name one")
    name = names.pop() if names else DEFAULT_SCHEMA
    schema = read_schema(name, f"search_path={name!r} in the database URL")
    others = [(key, value) for key, value in query if key not in _SCHEMA_PARAMETERS]
    # libpq reads %20 but not '+' as a space, so every value is quoted the strict way.
    text = urlencode(others, quote_via=quote)
    address = Address(_joined(parts.netloc, parts.path, text), schema)
    address.parameters()  # Told now, and not by each driver in its own way when it connects.
    return address


def _joined(netloc: str, path: str, query: str) -> str:
    # urlunsplit leaves the slashes of an empty host out, which libpq does not read.
    return f"postgresql://{netloc}{path}" + (f"?{query}" if query else "")


def _split(url: str) -> SplitResult:
    """Take a URL apart if nothing of a password can end up outside of the password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # Not chained, nor quoted: its words may hold the password.
        raise UsageError(_HARD_TO_READ) from None
    user, at, hosts = parts.netloc.rpartition("@")
    is_readable = (
        not _UNSENDABLE.search(url)
        and _USER.fullmatch(user + at)
        and all(_HOST.fullmatch(host) for host in hosts.split(","))
        and "@" not in parts.path
        and not any("@" in key for key, _ in _query(parts.query))
        and not parts.fragment
    )
    if not is_readable:
        raise UsageError(_HARD_TO_READ)
    return parts


def _query(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)


def read_schema(name: str, given: str) -> str:
    """Return the name of a schema as PostgreSQL reads it: what is quoted keeps its case.

    Args:
        name: as the user wrote it.
        given: where that stands, for the error.

    Raises:
        UsageError: no schema of ours can have that name.
    """
    is_quoted = len(name) > 2 and name[0] == name[-1] == '"'
    folded = name[1:-1] if is_quoted else name.lower()
    if not _SCHEMA_NAME.fullmatch(folded):
        raise UsageError(
            f"{given} must name one schema: a lower-case letter "
            "or '_', then letters, digits or '_', at most 63, not starting with 'pg_'"
        )
    return folded
