"""The installed distribution is whole: `tox -e package` installs it from its wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import simpleworkflow

SOURCE = Path(__file__).parents[2] / "simpleworkflow"
INSTALLED = Path(simpleworkflow.__file__).parent

pytestmark = pytest.mark.skipif(
    INSTALLED == SOURCE, reason="simpleworkflow is not installed from a wheel: tox -e package"
)


def files_below(folder: Path) -> set[Path]:
    """Every file that belongs to the package, relative to its folder."""
    return {
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_wheel_holds_every_file_of_the_package():
    """No SQL, template or marker is left out of the wheel, and nothing else is in it."""
    assert files_below(INSTALLED) == files_below(SOURCE)
    assert Path("py.typed") in files_below(INSTALLED)


def test_the_wheel_installs_the_package_and_nothing_beside_it():
    """Tests and examples do not end up in somebody's site-packages."""
    installed = metadata.files("simpleworkflow") or []
    tops = {path.parts[0] for path in installed if path.parts[0] not in ("..", "__pycache__")}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"simpleworkflow"}


def test_the_command_is_installed():
    """The script answers from any folder."""
    command = shutil.which("simpleworkflow", path=str(Path(sys.executable).parent))
    assert command
    done = subprocess.run(
        [command, "--help"], cwd="/", capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "migrate" in done.stdout


def test_every_public_name_is_there():
    """Each name in __all__ can be had with the base dependencies alone."""
    assert simpleworkflow.__all__ == sorted(simpleworkflow.__all__)
    for name in simpleworkflow.__all__:
        assert getattr(simpleworkflow, name) is not None


def test_the_pytest_plugin_is_found(tmp_path):
    """Whoever installs the wheel beside pytest has the fixtures, with nothing to register."""
    (tmp_path / "test_user.py").write_text(
        "def test_work(simpleworkflow_client, simpleworkflow_poller):\n"
        "    simpleworkflow_poller.register_executor('a.b.v1', lambda run: run.payload + 1)\n"
        "    sent = simpleworkflow_client.submit('a.b.v1', 1)\n"
        "    assert simpleworkflow_poller.drain() == 1\n"
        "    assert simpleworkflow_client.get(sent.id).result == 2\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
