"""Durations as people write them on a command line: 30d, 12h, 90m, 45s."""

from __future__ import annotations

import re
from datetime import timedelta

import click

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_FORM = re.compile(r"([1-9][0-9]{0,8})([dhms])")


def duration(text: str) -> timedelta:
    """Read a whole number of days, hours, minutes or seconds; the `type` of an option.

    Raises:
        click.BadParameter: it is none.
    """
    found = _FORM.fullmatch(text)
    if not found:
        raise click.BadParameter(f"{text!r} is no duration, such as 30d, 12h, 90m or 45s")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
