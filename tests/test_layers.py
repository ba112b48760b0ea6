"""The arrows and absences of ARCHITECTURE.md, checked: each rule reads one source file and tells where the file breaks it.

A rule that has never been seen to fail proves nothing, so each has a test with a file that breaks it.
"""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "leadline"

# The tables ------------------------------------------------------------------

INNER = {"clock", "metrics"}  # leaf modules that any room may import, pure ones excepted
OUTER = {"config", "logs"}  # leaf modules of the process as a whole: a room is given values, and only says what it has to say
KNOWN = {"core", "analytics", "service", "serve", "store", "standin", "app", *INNER, *OUTER}  # to the rooms that face a person

MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "analytics": {"core"},
    "exchange": {"core", *INNER},
    "standin": {"core", *INNER},
    "store": {"core", *INNER},
    "service": {"core", "analytics", *INNER},
    "serve": {"core", "analytics", "service", *INNER},
    "client": {"core", "serve", *INNER},  # of them only what CLIENT_SHARES
    "app": {*KNOWN, "exchange"} - {"app"},  # the one that knows every room
    "demo": {*KNOWN, "serving"},
    "doctor": KNOWN,
    "export": KNOWN,
    "plot": KNOWN,
    "show": KNOWN,
    "calling": KNOWN,
    "assistant": {*KNOWN, "serving", "config"},
    "watch": {"client", "core", *INNER},
    "serving": {*KNOWN, "exchange"},
    "cli": {"assistant", "calling", "serving", "demo", "doctor", "export", "plot", "show", "watch", *KNOWN},
    "clock": {"core"},
    "metrics": {"core"},
    "config": {"core"},
    "logs": {"core"},
    "__main__": {"cli"},
    "__init__": set(),
}

PURE = {"core", "analytics"}
PURE_MAY_IMPORT = {
    *(
        "__future__",
        "abc",
        "array",
        "bisect",
        "collections",
        "copy",
        "dataclasses",
        "decimal",
        "enum",
        "fractions",
        "functools",
        "heapq",
    ),
    *("itertools", "math", "operator", "re", "statistics", "string", "types", "typing", "leadline", "msgspec", "numpy"),
}

# Of core: frozen records and the text formats of recordings; no book, no sums, no units.
STANDIN_SHARES = {"capture", "errors", "records"}

# What a client may take from the house: the contract, the errors and exact numbers. So it needs neither numpy nor a server.
CLIENT_SHARES = ("leadline.serve.proto", "leadline.core.errors", "leadline.core.units")
CLIENT_MAY_LOAD_LATE = {"pandas", "polars"}
CLIENT_LIBRARIES = {"google", "grpc", "msgspec", *CLIENT_MAY_LOAD_LATE}

WHERE: dict[str, tuple[str, ...]] = {  # a library, and the only places that know it
    "rocksdict": ("store/rocks.py",),
    "aiohttp": ("exchange/binance/", "standin/", "serve/"),
    "cryptography": ("standin/tls.py",),
    "grpc": ("serve/", "client/"),
    "google": ("serve/", "client/"),
    "pandas": ("client/frames.py", "client/history.py"),
    "polars": ("client/frames.py", "client/history.py"),
    "mcp": ("serve/",),
    "jwt": ("serve/signed_tokens.py",),
    "typer": ("cli.py",),
    "leadline.core.book": ("core/",),  # everyone else sees frozen records
    "leadline.core.sync.BookSync": ("core/", "service/feed.py"),
}

TAKES_TIME = {
    "asyncio.sleep",
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.sleep",
    "time.time",
    "time.time_ns",
}
MAY_TAKE_TIME: dict[str, tuple[set[str], str]] = {
    "clock.py": (TAKES_TIME, "the one Clock"),
    "standin/server.py": ({"asyncio.sleep"}, "sleep(0): a turn of the loop between two frames, no time"),
}

LOOP = {"asyncio.get_event_loop", "asyncio.get_running_loop", "asyncio.new_event_loop"}
NO_PARENT = {"asyncio.create_task", "asyncio.ensure_future"}

MAY_CATCH_ALL: dict[str, tuple[int, str]] = {  # how often at most, and why
    "service/live.py": (2, "the supervisor: events, and ticks, of one symbol"),
    "serve/dispatch.py": (1, "the tool dispatcher"),
    "serve/grpc_door.py": (1, "calls that are no tools: a bug must not tell what it is made of"),
    "store/history.py": (1, "whatever is wrong with one row must not cost the others"),
    "store/rocks.py": (3, "the binding raises plain Exception: translation"),
}


# The rules -------------------------------------------------------------------


class Module:
    """One source file. where: its path below the package; names: what each imported name stands for, in full."""

    def __init__(self, path: Path, root: Path) -> None:
        self.where = path.relative_to(root).as_posix()
        self.room = self.where.split("/")[0].removesuffix(".py")
        self.text = path.read_text(encoding="utf-8")
        self.nodes = list(ast.walk(ast.parse(self.text)))
        self.names: dict[str, str] = {}
        self.imports: list[tuple[int, str]] = []  # `from a import b` is a.b
        self.relative: list[int] = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.imports.append((node.lineno, alias.name))
                    top = alias.name.split(".")[0]
                    self.names[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                if node.level:
                    self.relative.append(node.lineno)
                for alias in node.names:
                    self.imports.append((node.lineno, f"{node.module}.{alias.name}"))
                    self.names[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def says(self, line: int, what: str) -> str:
        return f"{self.where}:{line} {what}"

    def dotted(self, node: ast.AST) -> str:
        """The full name that a chain of attributes stands for; empty if it starts from no imported name."""
        if isinstance(node, ast.Attribute):
            base = self.dotted(node.value)
            return f"{base}.{node.attr}" if base else ""
        return self.names.get(node.id, "") if isinstance(node, ast.Name) else ""

    def is_loop(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and self.dotted(node.func) in LOOP


Rule = Callable[[Module], Iterator[str]]


def arrows(module: Module) -> Iterator[str]:
    """A room imports only the rooms listed for it."""
    allowed = MAY_IMPORT.get(module.room)
    if allowed is None:
        yield module.says(1, f"{module.room} is no room that ARCHITECTURE.md knows")
        return
    for line in module.relative:
        yield module.says(line, "imports relatively: write imports in full")
    for line, name in module.imports:
        parts = name.split(".")
        if parts[0] == "leadline" and parts[1:] and parts[1] in MAY_IMPORT and parts[1] not in allowed | {module.room}:
            yield module.says(line, f"imports {parts[1]}")


def dynamic_imports(module: Module) -> Iterator[str]:
    """No import that the rules cannot see."""
    for node in module.nodes:
        if isinstance(node, ast.Call):
            hidden = isinstance(node.func, ast.Name) and node.func.id == "__import__"
            if hidden or module.dotted(node.func) == "importlib.import_module":
                yield module.says(node.lineno, "imports by a name made at run time")


def purity(module: Module) -> Iterator[str]:
    """Pure rooms are given time and data."""
    if module.room not in PURE:
        return
    for line, name in module.imports:
        if name.split(".")[0] not in PURE_MAY_IMPORT or name.startswith("numpy.random"):
            yield module.says(line, f"imports {name.split('.')[0]}: pure rooms are given time and data")
    for node in module.nodes:
        if isinstance(node, ast.Attribute) and module.dotted(node) == "numpy.random":
            yield module.says(node.lineno, "uses numpy.random: pure rooms are given time and data")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"open", "input", "print"}:
            yield module.says(node.lineno, f"calls {node.func.id}: pure rooms are given time and data")


def one_place(module: Module) -> Iterator[str]:
    """A library, or a Book, is known in one place."""
    for line, name in module.imports:
        for what, places in WHERE.items():
            inside = any(module.where == place or (place.endswith("/") and module.where.startswith(place)) for place in places)
            if not inside and (name == what or name.startswith(f"{what}.")):
                yield module.says(line, f"imports {what}: only {', '.join(places)} may")


def iterators(module: Module) -> Iterator[str]:
    """A lower bound on an iterator makes the binding read freed memory: bounds are upper ones, and seek does the rest."""
    for number, line in enumerate(module.text.splitlines(), 1):
        if "set_iterate_lower_bound" in line:
            yield module.says(number, "names set_iterate_lower_bound")


def standin(module: Module) -> Iterator[str]:
    """The stand-in shares no code with what it tests, or a common bug would hide."""
    if module.room != "standin":
        return
    for line, name in module.imports:
        room, _, rest = name.removeprefix("leadline.").partition(".")
        if name.startswith("leadline.") and room == "core" and rest.split(".")[0] not in STANDIN_SHARES:
            yield module.says(line, f"shares {name}: only core's {', '.join(sorted(STANDIN_SHARES))}")


def light_client(module: Module) -> Iterator[str]:
    """A client is light: it shares the contract, not the house, and what is an extra is loaded when it is asked for."""
    if module.room != "client":
        return
    top = {node.lineno for node in ast.parse(module.text).body if isinstance(node, ast.Import | ast.ImportFrom)}
    for line, name in module.imports:
        room = name.removeprefix("leadline.").split(".")[0]
        library = name.split(".")[0]
        if name.startswith("leadline.") and room in {"core", "serve"}:
            if not any(name == shared or name.startswith(f"{shared}.") for shared in CLIENT_SHARES):
                yield module.says(line, f"shares {name}: only {', '.join(CLIENT_SHARES)}")
        elif library != "leadline" and library not in sys.stdlib_module_names | CLIENT_LIBRARIES:
            yield module.says(line, f"imports {library}: a client is light")
        elif library in CLIENT_MAY_LOAD_LATE and line in top:
            yield module.says(line, f"imports {library} before it is asked for")


def given_time(module: Module) -> Iterator[str]:
    """Time is given: only the Clock takes it."""
    allowed, _ = MAY_TAKE_TIME.get(module.where, (set(), ""))
    taken = TAKES_TIME - allowed
    for line, name in module.imports:
        if name in taken:
            yield module.says(line, f"takes time itself: {name}")
    for node in module.nodes:
        if isinstance(node, ast.Attribute):
            if module.dotted(node) in taken:
                yield module.says(node.lineno, f"takes time itself: {module.dotted(node)}")
            elif node.attr in {"time", "call_later", "call_at"} and module.is_loop(node.value):
                yield module.says(node.lineno, f"takes time itself: loop.{node.attr}")


def parents(module: Module) -> Iterator[str]:
    """Every task has a parent TaskGroup and a name."""
    groups = _task_groups(module)
    for node in module.nodes:
        if isinstance(node, ast.Attribute | ast.Name) and module.dotted(node) in NO_PARENT:
            yield module.says(node.lineno, f"starts a task without a parent: {module.dotted(node)}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "create_task":
            if module.dotted(node.func) in NO_PARENT:
                continue
            if _last(node.func.value) not in groups:
                yield module.says(node.lineno, f"starts a task without a parent: {ast.unparse(node.func)} is no TaskGroup's")
            elif not any(keyword.arg == "name" for keyword in node.keywords):
                yield module.says(node.lineno, "starts a task without a name")


def _task_groups(module: Module) -> set[str]:
    """Last parts of the names that hold a TaskGroup in this file."""
    found: set[str] = set()
    copies: list[tuple[str, str]] = []
    for node in module.nodes:
        match node:
            case ast.withitem(context_expr=source, optional_vars=ast.expr() as target):
                pass
            case ast.Assign(targets=[target], value=source):
                copies.append((_last(target), _last(source)))
            case ast.AnnAssign(target=target, annotation=source):
                pass
            case ast.arg(arg=name, annotation=ast.expr() as source):
                target = ast.Name(name)
            case _:
                continue
        if any(module.dotted(part) == "asyncio.TaskGroup" for part in ast.walk(source)):
            found.add(_last(target))
    found |= {target for target, source in copies if source in found}
    return found - {""}


def _last(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def catch_alls(module: Module) -> Iterator[str]:
    """Who catches everything must be on the list."""
    allowed, _ = MAY_CATCH_ALL.get(module.where, (0, ""))
    caught = sorted(node.lineno for node in module.nodes if _catches_all(module, node))
    for line in caught[allowed:]:
        yield module.says(line, f"catches everything: {allowed} in this file may")


def _catches_all(module: Module, node: ast.AST) -> bool:
    if isinstance(node, ast.ExceptHandler):
        types = [node.type]
    elif isinstance(node, ast.Call) and module.dotted(node.func) == "contextlib.suppress":
        types = list(node.args)
    else:
        return False
    return any(kind is None or any(_last(part) in {"Exception", "BaseException"} for part in ast.walk(kind)) for kind in types)


RULES: list[Rule] = [
    arrows,
    dynamic_imports,
    purity,
    one_place,
    iterators,
    standin,
    light_client,
    given_time,
    parents,
    catch_alls,
]


def violations(root: Path, rule: Rule) -> list[str]:
    return [found for path in sorted(root.rglob("*.py")) for found in rule(Module(path, root))]


# The house as it stands --------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps_the_rule(rule: Rule):
    found = violations(SOURCE, rule)
    assert not found, "\n".join(found)


def test_the_source_is_really_read():
    read = {Module(path, SOURCE).room for path in SOURCE.rglob("*.py")}
    assert {"core", "exchange", "service", "standin", "store", "clock"} <= read


def test_files_that_may_take_time_exist():
    assert [where for where in MAY_TAKE_TIME if not (SOURCE / where).is_file()] == []


# Each rule is seen to fail -------------------------------------------------------


def breaks(tmp_path: Path, rule: Rule, where: str, text: str) -> list[str]:
    path = tmp_path / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return violations(tmp_path, rule)


@pytest.mark.parametrize(
    ("where", "text", "said"),
    [
        ("core/book.py", "from leadline.store import keys", "imports store"),
        ("core/book.py", "from leadline import clock", "imports clock"),
        ("core/book.py", "def late():\n    import leadline.service.feed", "imports service"),
        ("store/codec.py", "import leadline.exchange.binance.wire as wire", "imports exchange"),
        ("exchange/replay.py", "from leadline.store.keys import at", "imports store"),
        ("service/feed.py", "from leadline.store import rocks", "imports store"),
        ("service/feed.py", "from leadline.config import Settings", "imports config"),
        ("serve/tools.py", "from leadline.logs import setup", "imports logs"),
        ("clock.py", "from leadline.service import ports", "imports service"),
        ("cli.py", "from leadline.exchange.binance import rest", "imports exchange"),
        ("analytics/top.py", "from leadline.service.queries import Window", "imports service"),
        ("client/aio.py", "from leadline.service.fanout import Hub", "imports service"),
        ("watch.py", "from leadline.serve.tools import TOOLS", "imports serve"),
        ("serve/http.py", "from leadline.client import Client", "imports client"),
        ("standin/server.py", "from leadline.exchange import replay", "imports exchange"),
        ("core/book.py", "from . import units", "imports relatively: write imports in full"),
        ("helpers/text.py", "", "helpers is no room that ARCHITECTURE.md knows"),
    ],
)
def test_a_wrong_arrow_is_seen(tmp_path: Path, where: str, text: str, said: str):
    line = 2 if text.startswith("def") else 1
    assert breaks(tmp_path, arrows, where, text) == [f"{where}:{line} {said}"]


def test_a_right_arrow_is_no_violation(tmp_path: Path):
    assert breaks(tmp_path, arrows, "app.py", "from leadline.exchange.binance import rest\nfrom leadline import logs") == []
    assert breaks(tmp_path, arrows, "store/codec.py", "from leadline.store import keys\nfrom leadline.core import units") == []


HIDDEN = ["import importlib\nimportlib.import_module('leadline.store')", "\n__import__('leadline.store')"]


@pytest.mark.parametrize("text", HIDDEN)
def test_a_hidden_import_is_seen(tmp_path: Path, text: str):
    assert breaks(tmp_path, dynamic_imports, "core/book.py", text) == ["core/book.py:2 imports by a name made at run time"]


WORLD = ["asyncio", "socket", "threading", "time", "random", "logging", "os", "pathlib", "subprocess", "datetime", "sys"]


@pytest.mark.parametrize("name", [*WORLD, "aiohttp", "rocksdict", "grpc", "a_library_nobody_listed"])
def test_a_pure_room_that_reaches_for_the_world_is_seen(tmp_path: Path, name: str):
    assert breaks(tmp_path, purity, "core/book.py", f"import {name}") == [
        f"core/book.py:1 imports {name}: pure rooms are given time and data"
    ]


def test_a_pure_room_that_draws_lots_or_opens_a_file_is_seen(tmp_path: Path):
    text = "import numpy as np\n\nnp.random.default_rng()\nopen('x')\n"
    assert breaks(tmp_path, purity, "analytics/top.py", text) == [
        "analytics/top.py:4 calls open: pure rooms are given time and data",
        "analytics/top.py:3 uses numpy.random: pure rooms are given time and data",
    ]


@pytest.mark.parametrize(
    ("where", "text", "what"),
    [
        ("store/history.py", "import rocksdict", "rocksdict"),
        ("service/live.py", "from aiohttp import ClientSession", "aiohttp"),
        ("exchange/replay.py", "import aiohttp", "aiohttp"),
        ("app.py", "import grpc.aio", "grpc"),
        ("app.py", "import typer", "typer"),
        ("service/queries.py", "from leadline.core.book import Book", "leadline.core.book"),
        ("service/queries.py", "from leadline.core import book", "leadline.core.book"),
        ("service/live.py", "from leadline.core.sync import BookSync", "leadline.core.sync.BookSync"),
    ],
)
def test_a_library_or_a_book_in_the_wrong_place_is_seen(tmp_path: Path, where: str, text: str, what: str):
    assert breaks(tmp_path, one_place, where, text) == [f"{where}:1 imports {what}: only {', '.join(WHERE[what])} may"]


def test_a_lower_bound_is_seen(tmp_path: Path):
    text = "def scan(options, lo):\n    options.set_iterate_lower_bound(lo)\n"
    assert breaks(tmp_path, iterators, "store/rocks.py", text) == ["store/rocks.py:2 names set_iterate_lower_bound"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("from leadline.core.book import Book", "leadline.core.book.Book"),
        ("from leadline.core import units", "leadline.core.units"),
        ("import leadline.core.second", "leadline.core.second"),
        ("from leadline import core", "leadline.core"),
    ],
)
def test_a_stand_in_that_shares_code_is_seen(tmp_path: Path, text: str, name: str):
    assert breaks(tmp_path, standin, "standin/source.py", text) == [
        f"standin/source.py:1 shares {name}: only core's capture, errors, records"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("from leadline.serve.errors import TABLE", "shares leadline.serve.errors.TABLE: only " + ", ".join(CLIENT_SHARES)),
        ("from leadline.core import records", "shares leadline.core.records: only " + ", ".join(CLIENT_SHARES)),
        ("import numpy as np", "imports numpy: a client is light"),
        ("import pandas", "imports pandas before it is asked for"),
    ],
)
def test_a_heavy_client_is_seen(tmp_path: Path, text: str, said: str):
    assert breaks(tmp_path, light_client, "client/frames.py", text) == [f"client/frames.py:1 {said}"]
    assert breaks(tmp_path, light_client, "client/frames.py", "def late():\n    import pandas") == []


def test_a_client_loads_no_server_no_store_and_no_numbers():
    heavy = "{'uvicorn', 'starlette', 'aiohttp', 'rocksdict', 'numpy', 'pandas', 'polars', 'typer', 'rich', 'leadline.service'}"
    command = [sys.executable, "-c", f"import sys, leadline.client; print(sorted({heavy} & set(sys.modules)))"]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import time\ntime.time()", "time.time"),
        ("import time as t\nt.monotonic()", "time.monotonic"),
        ("import datetime\ndatetime.datetime.now(datetime.UTC)", "datetime.datetime.now"),
        ("from datetime import datetime\ndatetime.utcnow()", "datetime.datetime.utcnow"),
        ("import asyncio\nasyncio.sleep(1)", "asyncio.sleep"),
        ("import time\nnow = time.time_ns", "time.time_ns"),
        ("\nfrom time import perf_counter", "time.perf_counter"),
        ("import asyncio\nasyncio.get_running_loop().time()", "loop.time"),
        ("import asyncio\nasyncio.get_running_loop().call_later(1, print)", "loop.call_later"),
    ],
)
def test_a_file_that_takes_time_is_seen(tmp_path: Path, text: str, name: str):
    assert breaks(tmp_path, given_time, "service/live.py", text) == [f"service/live.py:2 takes time itself: {name}"]


def test_the_clock_may_take_time(tmp_path: Path):
    assert breaks(tmp_path, given_time, "clock.py", "import time\ntime.time_ns()") == []


def test_a_permission_is_for_one_name_only(tmp_path: Path):
    text = "import asyncio\nimport time\nasyncio.sleep(0)\ntime.time()\n"
    assert breaks(tmp_path, given_time, "standin/server.py", text) == ["standin/server.py:4 takes time itself: time.time"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import asyncio\nasyncio.create_task(run())", "starts a task without a parent: asyncio.create_task"),
        ("from asyncio import create_task\ncreate_task(run())", "starts a task without a parent: asyncio.create_task"),
        ("import asyncio\nasyncio.ensure_future(run())", "starts a task without a parent: asyncio.ensure_future"),
        ("\nloop.create_task(run(), name='a')", "starts a task without a parent: loop.create_task is no TaskGroup's"),
        (
            "import asyncio\nasyncio.get_running_loop().create_task(run())",
            "starts a task without a parent: asyncio.get_running_loop().create_task is no TaskGroup's",
        ),
    ],
)
def test_a_task_without_a_parent_is_seen(tmp_path: Path, text: str, said: str):
    assert breaks(tmp_path, parents, "service/live.py", text) == [f"service/live.py:2 {said}"]


TASKS = """
import asyncio

class Live:
    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks, asyncio.TaskGroup() as self._more:
            for known in (tasks, self._tasks, self._more, self._group):
                pass
            tasks.create_task(run(), name="a")
            self._tasks.create_task(run(), name="b")
            self._more.create_task(run(), name="c")
            self._group.create_task(run(), name="d")
"""


def test_a_task_in_a_group_is_no_violation(tmp_path: Path):
    assert breaks(tmp_path, parents, "service/live.py", TASKS) == []


def test_a_task_without_a_name_is_seen(tmp_path: Path):
    text = TASKS.replace(', name="b"', "")
    assert breaks(tmp_path, parents, "service/live.py", text) == ["service/live.py:14 starts a task without a name"]


@pytest.mark.parametrize(
    "text",
    [
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept:\n    pass",
        "try:\n    f()\nexcept (OSError, BaseException):\n    pass",
        "try:\n    f()\nexcept* Exception:\n    pass",
        "from contextlib import suppress\n\nwith suppress(Exception):\n    f()",
    ],
    ids=["exception", "bare", "tuple", "group", "suppress"],
)
def test_a_catch_all_is_seen(tmp_path: Path, text: str):
    assert breaks(tmp_path, catch_alls, "service/queries.py", text) == [
        "service/queries.py:3 catches everything: 0 in this file may"
    ]


def test_one_catch_all_too_many_is_seen(tmp_path: Path):
    one = "try:\n    f()\nexcept Exception:\n    pass\n"
    assert breaks(tmp_path, catch_alls, "store/history.py", one) == []
    assert breaks(tmp_path, catch_alls, "store/history.py", one * 2) == [
        "store/history.py:7 catches everything: 1 in this file may"
    ]


def test_a_named_exception_is_no_catch_all(tmp_path: Path):
    text = "import contextlib\nwith contextlib.suppress(OSError):\n    try:\n        f()\n    except ValueError:\n        pass\n"
    assert breaks(tmp_path, catch_alls, "service/queries.py", text) == []
