"""A certificate authority for tests of TLS, by the program `openssl`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from servers import Unavailable


class Certificate(NamedTuple):
    """Two files."""

    path: Path
    key: Path


class Authority:
    """Signs certificates; its own is `root`.

    Args:
        folder: where everything is put; created.
        name: what it calls itself.
    """

    def __init__(self, folder: Path, name: str) -> None:
        """Make its own certificate; raise Unavailable where `openssl` is not installed."""
        if shutil.which("openssl") is None:
            raise Unavailable("no TLS: the program openssl is not installed")
        self._folder = folder
        folder.mkdir()
        self._key = folder / "root.key"
        self.root = folder / "root.crt"
        self._request(f"/CN={name}", self._key, self.root, "-x509", "-days", "2")

    def sign(self, name: str, address: str = "") -> Certificate:
        """Make a certificate in this name, for a server at `address` or for a client."""
        key, request, path = (self._folder / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
        self._request(f"/CN={name}", key, request)
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={address}\n" if address else "")
        _openssl(
            "x509", "-req", "-days", "2", "-in", request, "-out", path,
            "-CA", self.root, "-CAkey", self._key, "-CAcreateserial", "-extfile", extensions,
        )  # fmt: skip
        return Certificate(path, key)

    def _request(self, subject: str, key: Path, out: Path, *options: str) -> None:
        _openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", subject, "-keyout", key, "-out", out, *options,
        )  # fmt: skip
        key.chmod(0o600)


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(
        ["openssl", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
