"""Settings from the environment, and from a `.env` file for variables that are not set there."""

from __future__ import annotations

import os
from collections.abc import Mapping

from simpleworkflow.core.errors import UsageError

URL_VARIABLE = "DATABASE_URL"


def environment(env_file: str | os.PathLike[str] | None) -> Mapping[str, str | None]:
    """Return the environment's variables, those of the file below them; None reads no file.

    Raises:
        UsageError: the file is there and cannot be read.
    """
    if env_file is None:
        return os.environ
    from dotenv import dotenv_values

    try:
        return {**dotenv_values(env_file), **os.environ}
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"{os.fspath(env_file)} cannot be read: {exc}") from exc


def database_url(variables: Mapping[str, str | None]) -> str:
    """Return the database's URL.

    Raises:
        UsageError: it is not set.
    """
    if url := variables.get(URL_VARIABLE):
        return url
    raise UsageError(
        f"{URL_VARIABLE} is not set: set it in the environment or in .env, such as "
        f"{URL_VARIABLE}=postgresql://user@host/db"
    )
