"""Asks what a Grafana dashboard asks, with its variables filled in as Grafana does it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ALL = "$__all"
"""What stands for all values of a variable."""


class Query(NamedTuple):
    """One query of a panel; `is_instant` when it is about this moment alone."""

    panel: str
    expression: str
    is_instant: bool


class Dashboard:
    """A dashboard as it is in its file."""

    def __init__(self, path: Path) -> None:
        """Read it."""
        self.model: dict[str, Any] = json.loads(path.read_text())
        self.panels = [panel for panel in self.model["panels"] if panel["type"] != "row"]
        self.variables = {
            variable["name"]: variable
            for variable in self.model["templating"]["list"]
            if variable["type"] == "query"
        }

    def queries(
        self, chosen: Mapping[str, Sequence[str]], *, scrape_seconds: int, range_seconds: int
    ) -> Iterator[Query]:
        """Yield what its panels ask.

        Args:
            chosen: the values of each variable, or ALL alone.
            scrape_seconds: how often Prometheus scrapes; points are as far apart.
            range_seconds: the time that is shown.
        """
        # https://grafana.com/docs/grafana/latest/datasources/prometheus/template-variables/
        filled = {
            "__rate_interval": f"{4 * scrape_seconds}s",
            "__interval": f"{scrape_seconds}s",
            "__range": f"{range_seconds}s",
            **{name: self._matcher(name, values) for name, values in chosen.items()},
        }
        for panel in self.panels:
            for target in panel["targets"]:
                expression = re.sub(r"\$(\w+)", lambda found: filled[found[1]], target["expr"])
                yield Query(panel["title"], expression, target["instant"])

    def variable_query(self, name: str) -> tuple[str, str]:
        """Return the metric and the label whose values a variable offers."""
        asked = self.variables[name]["query"]["query"]
        found = re.fullmatch(r"label_values\((\w+), (\w+)\)", asked)
        assert found, f"{asked} is not understood here"
        return found[1], found[2]

    def _matcher(self, name: str, values: Sequence[str]) -> str:
        """Return the regular expression, in a string of PromQL, that stands for the values."""
        if list(values) == [ALL]:
            return str(self.variables[name]["allValue"])
        escaped = [re.sub(r"[$^*{}\[\]'+?.()|]", r"\\\\\g<0>", value) for value in values]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"
