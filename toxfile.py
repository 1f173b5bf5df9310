"""Lets tox find every Python that pyenv has installed, active or not.

pyenv puts only shims on the PATH, and a shim works for active versions alone.
"""

from __future__ import annotations

import os
from pathlib import Path

root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
folders = [str(folder) for folder in sorted(root.glob("versions/*/bin"))]
os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", ""), *folders])
