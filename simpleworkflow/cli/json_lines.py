"""`--log-format json`: one object a line, whatever is in a record.

Other modules import this one when JSON is asked for, and not before.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.json import JsonEncoder, JsonFormatter


class JsonLines(JsonFormatter):
    """Formats a record as one line of JSON; what JSON cannot hold is told as text. Never raises."""

    def __init__(self) -> None:
        super().__init__("%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        whole = super().format
        return _unless_it_raises(lambda: whole(record), lambda: whole(_without_arguments(record)))

    def formatException(self, ei: Any) -> str:
        """Return the traceback, or only of what class the exception is."""
        traceback = super().formatException
        return _unless_it_raises(lambda: str(traceback(ei)), lambda: _shown(ei[1]))

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Fill in our own fields, and the record's `extra`, which cannot take their place."""
        at = datetime.fromtimestamp(record.created, UTC)
        own = {
            "timestamp": at.isoformat(timespec="microseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
        }
        # Twice: they come first, and they win.
        log_data.update(own)
        super().add_fields(log_data, record, message_dict)
        log_data.update(own)
        if "exc_info" in log_data:
            log_data["exception"] = log_data.pop("exc_info")

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Return the fields as JSON; one that JSON cannot hold harms no other."""
        return _unless_it_raises(
            lambda: _json(log_data),
            lambda: _json({_key(key): _sound(value) for key, value in log_data.items()}),
        )


def _without_arguments(record: logging.LogRecord) -> logging.LogRecord:
    """Return the record with words that can be told, for one whose own cannot."""
    place = f"{record.pathname}:{record.lineno}"
    words = f"{_shown(record.msg)} (as it stands at {place}: its arguments cannot be put in)"
    return logging.makeLogRecord({**vars(record), "msg": words, "args": ()})


def _json(value: object) -> str:
    line = json.dumps(value, cls=JsonEncoder, allow_nan=False)
    if "\\ud" not in line:
        return line
    # Half of a surrogate pair is no text, and other languages' readers refuse the line for it.
    text = json.dumps(value, cls=JsonEncoder, allow_nan=False, ensure_ascii=False)
    halves = text.encode("utf-16-le", "surrogatepass")
    return json.dumps(json.loads(halves.decode("utf-16-le", "replace")))


def _key(key: object) -> str:
    return key if isinstance(key, str) else _shown(key)


def _sound(value: object) -> object:
    """Return the value as JSON can hold it."""
    return json.loads(_unless_it_raises(lambda: _json(value), lambda: _json(_shown(value))))


def _shown(value: object) -> str:
    return _unless_it_raises(
        lambda: repr(value), lambda: f"<{type(value).__name__} that cannot be shown>"
    )


def _unless_it_raises(make: Callable[[], str], otherwise: Callable[[], str]) -> str:
    try:
        return make()
    except KeyboardInterrupt:
        raise  # Ctrl-C, and no value's doing.
    except BaseException:
        # SystemExit included: it would end a thread of the worker.
        return otherwise()
