"""Writes docs/cli.md from the commands' own help: `python docs/write_cli.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from simpleworkflow.cli import main

DOCUMENT = Path(__file__).with_name("cli.md")
WIDTH = 80

HEAD = """\
# The command line

Written from the commands' own help by `python docs/write_cli.py`. Edit the commands, not this page.

`python -m simpleworkflow` is the same command as `simpleworkflow`.

**The database** is what `--store URL` names, or else `DATABASE_URL` in the environment, or else in
the file `.env` of the current folder. `worker` takes the one that its poller was made with, unless
`--store` names another. A URL on the command line stands in the machine's list of processes, its
password with it; a variable does not.

**`--json`** prints JSON in place of text: one value, instants in ISO 8601, durations in seconds.
`worker` and `ticker` answer nothing; with `--log-format json` they log one object a line.

**Errors** are one line on standard error. The exit code says of which kind:

| exit code | meaning |
|---|---|
| 0 | done; of a worker: asked to stop, and what was at work has ended or was given back |
| 1 | it failed: the database cannot be reached or refuses, a worker had to be killed |
| 2 | misuse: what was given cannot work, and the line says what would |
| 3, 4 | of `doctor`: a warning, something critical |
| 130 | the demo was stopped by Ctrl-C or SIGTERM |

## Completion

The Tab key completes commands and options once the shell has been told so. For bash 4.4 or later, a
line in `~/.bashrc`:

```bash
eval "$(_SIMPLEWORKFLOW_COMPLETE=bash_source simpleworkflow)"
```

For zsh, a line in `~/.zshrc`, below the one with `compinit`:

```zsh
eval "$(_SIMPLEWORKFLOW_COMPLETE=zsh_source simpleworkflow)"
```

For fish, in `~/.config/fish/completions/simpleworkflow.fish`:

```fish
_SIMPLEWORKFLOW_COMPLETE=fish_source simpleworkflow | source
```
"""


def document() -> str:
    """The whole of docs/cli.md."""
    root = main.make_context("simpleworkflow", [], resilient_parsing=True, terminal_width=WIDTH)
    sections = [f"\n## {path}\n\n```text\n{text}\n```\n" for path, text in _helps(root)]
    return HEAD + "".join(sections)


def _helps(context: click.Context) -> Iterator[tuple[str, str]]:
    """Yield each command below, as it is typed, with its help."""
    command = context.command
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from _helps(click.Context(found, context, info_name=name))


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
