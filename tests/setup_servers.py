"""Install what the tests like to have beyond pip, where that is easy; else say what is missing.

A second PostgreSQL, PgBouncer, libfaketime, Prometheus, curl and the tools of systemd are Debian's
packages, so this does something only as root on a Debian. Whatever stays missing is skipped by the
tests that need it, with the reason.
`SIMPLEWORKFLOW_TEST_NO_INSTALL=1` leaves the machine as it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def missing_packages() -> list[str]:
    """The Debian packages this machine lacks."""
    missing = []
    if not list(Path("/usr/lib/postgresql").glob("*/bin/postgres")) and not shutil.which("initdb"):
        missing.append("postgresql")
    if not shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        missing.append("pgbouncer")
    if not list(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")):
        missing.append("faketime")
    if not shutil.which("prometheus") or not shutil.which("promtool"):
        missing.append("prometheus")
    if not shutil.which("systemd-analyze"):
        missing.append("systemd")
    if not shutil.which("curl"):
        missing.append("curl")
    return missing


def may_install() -> bool:
    """Whether packages can be installed here without asking anybody."""
    wanted = not os.environ.get("SIMPLEWORKFLOW_TEST_NO_INSTALL")
    return wanted and os.geteuid() == 0 and bool(shutil.which("apt-get"))


def install(packages: list[str]) -> str:
    """Install them; returns why that failed, or nothing."""
    apt = ["apt-get", "-qq", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        [*apt, "update"],
        [*apt, "install", "--yes", "--no-install-recommends", *packages],
    ):
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"{command[-1]}: apt-get took too long"
        if done.returncode != 0:
            return (done.stdout.strip().splitlines() or ["apt-get failed"])[-1]
    return ""


def main() -> None:
    """Install what is missing, or say that it is."""
    missing = missing_packages()
    if missing and may_install():
        print(f"installing from Debian: {' '.join(missing)}", flush=True)
        problem = install(missing)
        if problem:
            print(f"could not install: {problem}")
        missing = missing_packages()
    for package in missing:
        print(f"not on this machine: {package} (tests that need it are skipped)")


if __name__ == "__main__":
    main()
