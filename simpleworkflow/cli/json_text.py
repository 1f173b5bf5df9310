"""Reads JSON that was given to a command, and says where it does not parse."""

from __future__ import annotations

import json
import sys

from simpleworkflow import UsageError


def read_payload(text: str, what: str = "the payload") -> object:
    """Return the payload that was given: as JSON, or on standard input for `-`.

    Raises:
        UsageError: it does not parse.
    """
    if text == "-":
        return parsed(sys.stdin.buffer.read(), what, "standard input")
    return parsed(text, what)


def parsed(given: str | bytes, what: str, where: str = "JSON") -> object:
    """Return what the JSON says.

    Args:
        given: the JSON.
        what: the thing it is, such as "the payload".
        where: the place it was read from.

    Raises:
        UsageError: it does not parse.
    """
    try:
        return json.loads(given)
    except json.JSONDecodeError as exc:
        place = f"line {exc.lineno}, column {exc.colno}"
        raise UsageError(f"{what} does not parse: {exc.msg} ({where}, {place})") from exc
    except UnicodeDecodeError as exc:
        raise UsageError(f"{what} is no UTF-8: byte {exc.start} of {where}") from exc
    except RecursionError as exc:
        raise UsageError(f"{what} is nested too deeply: flatten it ({where})") from exc
    except ValueError as exc:
        # All that is left: Python's own limit, which the core holds to as well.
        raise UsageError(
            f"{what} has a number of more than 4,300 digits: make it text ({where})"
        ) from exc
