"""How commands that run for long log: to standard error, for eyes, for files or for programs."""

from __future__ import annotations

import logging
import os
import re
import sys

import click

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("auto", "text", "json")

_TEXT = "%(asctime)s %(levelname)s [%(process)d] %(message)s"
_COLOURS = {
    logging.DEBUG: "cyan",
    logging.INFO: "green",
    logging.WARNING: "yellow",
    logging.ERROR: "red",
    logging.CRITICAL: "red",
}
_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a terminal obeys in place of showing it, but for tabs and ends of lines."""


def log_to_stderr(level: str, log_format: str) -> None:
    """Log to standard error from this level on, unless logging is configured already.

    Args:
        level: one of LOG_LEVELS.
        log_format: one of LOG_FORMATS; `auto` is in colour on a terminal and `text` elsewhere.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(log_format))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def _formatter(log_format: str) -> logging.Formatter:
    if log_format == "json":
        from simpleworkflow.cli.json_lines import JsonLines

        return JsonLines()
    if log_format == "auto" and _shows_colour():
        return _Coloured()
    return logging.Formatter(_TEXT)


def _shows_colour() -> bool:
    # A process may have been started without a standard error.
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class _Coloured(logging.Formatter):
    """Formats for eyes: the time of day, the level in colour, and the words as they are.

    Long lines are left to the terminal to break, so that one that is copied is whole.
    """

    default_time_format = "%H:%M:%S"

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it the traceback if there is one."""
        time = click.style(self.formatTime(record), dim=True)
        level = click.style(f"{record.levelname:7}", fg=_COLOURS.get(record.levelno), bold=True)
        process = click.style(f"[{record.process}]", dim=True)
        # Errors have words of payloads in them, and these may be anybody's.
        words = _STEERING.sub("\N{REPLACEMENT CHARACTER}", super().format(record))
        return f"{time} {level} {process} {words}"
