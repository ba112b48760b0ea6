"""The house around the code: what is tracked, pinned, licensed and promised in words."""

import hashlib
import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import leadline

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PINNED = {
    "run.txt": [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["build"]],
    "dev.txt": PROJECT["dependency-groups"]["dev"],
    "bench.txt": PROJECT["dependency-groups"]["bench"],
}
OF_CLIENTS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("*_clients/requirements/*.txt"))
LOCK_FILES = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "yarn.lock"}  # they record addresses
PIN = re.compile(r"([A-Za-z0-9._-]+)==([^\s;\\]+)( ; [^\\]+)?( \\)?")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "STYLE.md", "CONTRIBUTING.md", "CHANGELOG.md")


def tracked() -> list[Path]:
    """Files of the checkout, those about to be added included; without git there is nothing to ask, which CI does not accept."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if answer.returncode and not os.environ.get("CI"):
        pytest.skip("not a git checkout")
    assert answer.returncode == 0, answer.stderr
    return [ROOT / name.decode() for name in answer.stdout.split(b"\0") if name and (ROOT / name.decode()).is_file()]


def texts() -> list[tuple[str, str]]:
    """Path and text of every tracked file that is text."""
    found = []
    for path in tracked():
        content = path.read_bytes()
        if b"\0" not in content[:8000]:
            found.append((path.relative_to(ROOT).as_posix(), content.decode(errors="replace")))
    return found


# Requirements ------------------------------------------------------------------


def pins(text: str) -> dict[str, list[str]]:
    """Name -> versions; raises on anything that is not a pin, a hash or an empty line, so on every address, option and path."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := PIN.fullmatch(line):
            found.setdefault(canonicalize_name(match[1]), []).append(match[2])
        elif line and not HASH.fullmatch(line):
            raise ValueError(f"neither a pin nor a hash: {line}")
    return found


def read_pins(name: str) -> dict[str, list[str]]:
    return pins((ROOT / "requirements" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [*(f"requirements/{name}" for name in PINNED), *OF_CLIENTS])
def test_requirements_are_pins_with_hashes_and_nothing_else(name: str):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert pins(text)
    assert "==" not in re.sub(rf"(?m)^{PIN.pattern}\n{HASH.pattern}$", "", text), "a pin without a hash"


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.org/simple",
        "--constraint=./other.txt",
        "numpy @ file:///wheels/numpy.whl",
        "https://example.org/numpy.whl",
        "./numpy.whl",
        "-e .",
        "-r run.txt",
        "numpy>=2",
        "# via -r /home/someone/in.txt",
    ],
)
def test_an_address_or_a_path_among_the_pins_is_seen(line: str):
    with pytest.raises(ValueError, match="neither a pin nor a hash"):
        pins(f"rich==15.0.0 \\\n    --hash=sha256:{'0' * 64}\n{line}\n")


@pytest.mark.parametrize("name", PINNED)
def test_every_requirement_of_pyproject_is_pinned_within_its_bounds(name: str):
    """A forgotten `make requirements` shows here."""
    pinned = read_pins(name)
    for requirement in map(Requirement, PINNED[name]):
        versions = pinned.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} is not in {name}: make requirements"
        assert all(Version(version) in requirement.specifier for version in versions), f"{requirement}: pinned {versions}"


def test_the_three_files_name_the_same_versions():
    run, dev, bench = (read_pins(name) for name in ("run.txt", "dev.txt", "bench.txt"))
    assert run.items() <= dev.items() <= bench.items()


def test_no_lock_file_is_tracked():
    assert [path.name for path in tracked() if path.name in LOCK_FILES or re.fullmatch(r"pylock(\..+)?\.toml", path.name)] == []


def test_a_lock_of_npm_has_a_hash_for_each_package_and_no_address():
    """npm's is the one lock file that can do without addresses: omit-lockfile-registry-resolved."""
    found = [path for path in tracked() if path.name == "package-lock.json"]
    assert found
    for path in found:
        for name, package in json.loads(path.read_text(encoding="utf-8"))["packages"].items():
            assert "resolved" not in package, (path, name)
            assert name == "" or package["integrity"].startswith("sha512-"), (path, name)


# What stands in the files --------------------------------------------------------


def machine_paths(root: Path, home: Path) -> re.Pattern[str]:
    """Absolute paths that exist on one machine only: homes, the folder of the checkout, the one above it."""
    places = [rf"{re.escape(str(place))}(?=[/\s\"'`)]|$)" for place in (root, root.parent, home) if len(place.parts) > 2]
    return re.compile(rf"(?<![\w./-])(?:/(?:home|Users)/[\w.-]+/|{'|'.join(places) or '(?!)'})", re.MULTILINE)


def test_no_tracked_file_names_a_path_of_this_machine():
    pattern = machine_paths(ROOT, Path.home())
    found = [f"{name}: {match[0]}" for name, text in texts() if name != "tests/test_house.py" for match in pattern.finditer(text)]
    assert found == []


@pytest.mark.parametrize("text", ["open('/home/ann/x')", "see /srv/build/leadline/src", "in `/srv/build`", "/Users/ann/x"])
def test_a_path_of_this_machine_is_seen(text: str):
    assert machine_paths(Path("/srv/build/leadline"), Path("/home/ann")).search(text)


@pytest.mark.parametrize("text", ["/srv/buildings", "https://example.org/home/ann/", "/var/lib/leadline", "./home/x", "/tmp/x"])
def test_another_path_is_none(text: str):
    assert not machine_paths(Path("/srv/build/leadline"), Path("/home/ann")).search(text)


def test_every_package_says_what_it_is():
    folders = {path.parent for path in (ROOT / "src" / "leadline").rglob("*.py")}
    assert len(folders) > 4
    silent = [
        folder.relative_to(ROOT).as_posix()
        for folder in sorted(folders)
        if not (folder / "__init__.py").is_file() or not (folder / "__init__.py").read_text(encoding="utf-8").startswith('"""')
    ]
    assert silent == []


# What is promised ------------------------------------------------------------------


def test_the_version_is_one():
    assert PROJECT["project"]["version"] == leadline.__version__


def test_the_licence_is_apache_2_in_full():
    """The well-known sha256 of LICENSE-2.0.txt."""
    assert PROJECT["project"]["license"] == "Apache-2.0"
    digest = hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def test_the_readme_begins_with_how_to_try_it_and_how_to_test_it():
    head = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40])
    assert "make demo" in head
    assert "make test" in head


def targets() -> set[str]:
    return set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))


def wrong_references(text: str) -> list[str]:
    """Files of ours and make targets, named between backticks, that do not exist."""
    named = re.findall(r"`([^`\n]+)`", text)
    wrong = [f"make {name}" for words in named for name in re.findall(r"^make ([a-z]+)", words) if name not in targets()]
    for words in named:
        path = words.removeprefix("python ").split(":")[0].split(" ")[0]
        if re.fullmatch(r"[\w./-]+/[\w-]+\.(?:py|md|txt|toml)", path) and not path.startswith("."):
            places = (ROOT / path, ROOT / "src" / "leadline" / path)
            if not any(place.is_file() for place in places):
                wrong.append(path)
    return wrong


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_names_only_what_exists(name: str):
    path = ROOT / name
    assert path.is_file(), f"{name} is missing"
    assert wrong_references(path.read_text(encoding="utf-8")) == []


def test_a_wrong_reference_is_seen():
    text = "See `core/sync.py`, `core/nothing.py`, `python tests/nothing.py -v`; then `make test` and `make nothing`."
    assert wrong_references(text) == ["make nothing", "core/nothing.py", "tests/nothing.py"]


# STYLE.md gives each example as a line: - `file`: `fragment`
EXAMPLE = re.compile(r"^- `([^`]+)`: `([^`]+)`$", re.MULTILINE)


def stale_examples(text: str) -> list[str]:
    return [f"{where}: {line}" for where, line in EXAMPLE.findall(text) if line not in _source(where)]


def _source(where: str) -> str:
    return (ROOT / "src" / "leadline" / where).read_text(encoding="utf-8")


def test_every_example_of_the_style_stands_in_its_file():
    text = (ROOT / "STYLE.md").read_text(encoding="utf-8")
    assert len(EXAMPLE.findall(text)) > 10
    assert stale_examples(text) == []


def test_a_stale_example_is_seen():
    text = "- `clock.py`: `class Clock(Protocol):`\n- `clock.py`: `class Watch:`\n"
    assert stale_examples(text) == ["clock.py: class Watch:"]
