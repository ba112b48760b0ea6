"""An environment for each client, from hashed requirement files; none shares one with another."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

INSTALL_S = 600  # cryptofeed is compiled


class NotInstalled(Exception):
    """A client cannot be had here; the text says why."""


class Environments(NamedTuple):
    """requirements: folder of NAME.txt, and NAME-build.txt where one has to be built. cache: folder of the environments."""

    requirements: Path
    cache: Path

    def python_of(self, name: str) -> Path:
        return self.cache / name / "bin" / "python"

    def install(self, name: str) -> None:
        """As its files say; made anew when they, the place or the Python change. Raises NotInstalled."""
        files = [path for end in ("-build.txt", ".txt") if (path := self.requirements / (name + end)).exists()]
        stamp = self.cache / name / f".installed-{key_of(files, self.cache)}"
        if stamp.exists():
            return
        print(f"{name}: installing", flush=True)
        self.cache.mkdir(exist_ok=True)
        shutil.rmtree(self.cache / name, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(self.cache / name)])
        for path in files:  # what builds a client is pinned too, so it needs no isolation, which would fetch without hashes
            pip = [str(self.python_of(name)), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
            run([*pip, "--no-build-isolation", "--require-hashes", "-r", str(path)])
        stamp.touch()


def key_of(files: list[Path], cache: Path) -> str:
    """Changes with what is installed, where, and for which Python."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in files) + f"{cache} {sys.version}".encode()).hexdigest()[:16]


def run(command: list[str], cwd: Path | None = None) -> None:
    """A step of an installation. Raises NotInstalled."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"took more than {INSTALL_S} s") from error
    if "DO NOT MATCH THE HASHES" in done.stderr or "EINTEGRITY" in done.stderr:  # not absent, but what nobody should run
        raise SystemExit(done.stderr)
    if done.returncode:
        told = [text for text in done.stderr.splitlines() if text.strip().lower().startswith(("error", "npm error"))]
        raise NotInstalled((told or done.stderr.splitlines() or [f"status {done.returncode}"])[-1].strip())
