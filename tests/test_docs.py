"""docs/ against the code: what the code can say, write or be told is documented, and what is documented exists.

Each check is a function of texts that returns what is wrong, so that it can be shown to fail: see the second half.
"""

import ast
import doctest
import re
import runpy
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from leadline import show
from leadline.app import depth_limits
from leadline.cli import app
from leadline.core import errors, minute, second, sync, trade_chain
from leadline.core.records import BANDS_BPS, SIZES_QUOTE, Flag, Incident, SecondRecord
from leadline.core.sync import Lost
from leadline.exchange.binance import limits, rest, stream
from leadline.service import feed, recorder, retention
from leadline.standin.faults import ALL_FAULTS
from leadline.store import codec, history, rocks, sidefile
from leadline.store.engine import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
DOCS = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
WANTED = (
    *(
        "analytics.md",
        "client.md",
        "exchange.md",
        "faults.md",
        "operations.md",
        "records.md",
        "serving.md",
        "settings.md",
        "standin.md",
    ),
    *("store.md", "tools.md"),
)
SOURCES = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "src" / "leadline").rglob("*.py"))}
MARKDOWN = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "bench").glob("*.md")])

LEVELS = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERROR", "exception": "ERROR", "critical": "ERROR"}
METHODS = {*LEVELS, "log"}


def trees() -> Iterator[tuple[str, ast.Module]]:
    for name, path in SOURCES.items():
        yield name, ast.parse(path.read_text(encoding="utf-8"))


# Reading a document ------------------------------------------------------------


def section(text: str, title: str) -> str:
    """What stands under a heading, down to the next of its level or above. Raises KeyError."""
    match = re.search(rf"(?m)^(#+) {re.escape(title)}$", text)
    if match is None:
        raise KeyError(title)
    rest = text[match.end() :]
    end = re.search(rf"(?m)^#{{1,{len(match[1])}}} ", rest)
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """Cells of every table row but headings and rules; `\\|` is no border."""
    found: list[list[str]] = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if not line.startswith("|") or re.fullmatch(r"[|\s:-]+", line):
            continue
        if number + 1 < len(lines) and re.fullmatch(r"\|[|\s:-]+\|", lines[number + 1]):
            continue  # the heading
        found.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]])
    return found


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def first_names(text: str) -> list[str]:
    """What stands between backticks in the first column, row by row."""
    return [name for row in rows(text) for name in names(row[0])]


# Generated parts ---------------------------------------------------------------

GENERATE = runpy.run_path(str(ROOT / "docs" / "generate.py"))
generated: Callable[[str], str] = GENERATE["generated"]


@pytest.mark.parametrize("name", DOCS)
def test_generated_parts_are_what_the_code_says(name: str):
    assert generated(DOCS[name]) == DOCS[name], "python docs/generate.py"


def test_every_generated_part_stands_somewhere():
    found = {match[2] for text in DOCS.values() for match in GENERATE["PART"].finditer(text)}
    assert found == set(GENERATE["PARTS"])


def test_the_example_file_of_settings_can_be_loaded(tmp_path: Path):
    from leadline.config import load

    block = re.search(r"```toml\n(.*?)```", DOCS["settings.md"], re.DOTALL)
    assert block is not None
    path = tmp_path / "example.toml"
    path.write_text(block[1], encoding="utf-8")
    loaded = load(config=path, environ={})
    assert loaded.settings.store.path == tomllib.loads(block[1])["store"]["path"]


def test_all_documents_are_there():
    assert tuple(DOCS) == WANTED


# Examples ----------------------------------------------------------------------


def failed_examples(name: str, text: str) -> tuple[int, int]:
    """(failed, tried) of the `pycon` blocks of a document, run in order as one session."""
    blocks = "\n".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))
    test = doctest.DocTestParser().get_doctest(blocks, {}, name, name, 0)
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test)
    return runner.failures, runner.tries


@pytest.mark.parametrize(("name", "least"), [("records.md", 20), ("store.md", 10)])
def test_examples_give_what_they_say(name: str, least: int):
    failed, tried = failed_examples(name, DOCS[name])
    assert failed == 0
    assert tried >= least


# Commands ----------------------------------------------------------------------


def commands() -> dict[str, set[str]]:
    """Every command of the command line with its options; help is common to all."""
    found: dict[str, set[str]] = {}

    def walk(command: Any, path: str) -> None:
        inner = getattr(command, "commands", None)
        if inner is not None:
            for name, child in inner.items():
                walk(child, f"{path} {name}")
        else:
            given = [p for p in command.params if p.param_type_name == "option" and p.name != "help"]
            found[path] = {text for option in given for text in (*option.opts, *option.secondary_opts)}

    walk(typer.main.get_command(app), "leadline")
    return found


def command_faults(text: str, wanted: dict[str, set[str]]) -> list[str]:
    """Commands and options that are missing in the document, or in the program."""
    headings = re.findall(r"(?m)^### (leadline .+)$", text)
    wrong = [f"not documented: {name}" for name in wanted if name not in headings]
    wrong += [f"no such command: {name}" for name in headings if name not in wanted]
    for name in wanted.keys() & set(headings):
        options = {word for row in rows(section(text, name)) for said in names(row[0]) for word in re.findall(r"--[\w-]+", said)}
        wrong += [f"{name} {option}: only in the program" for option in sorted(wanted[name] - options)]
        wrong += [f"{name} {option}: only in the document" for option in sorted(options - wanted[name])]
    return wrong


def test_every_command_and_option_is_documented_and_no_other():
    assert command_faults(DOCS["operations.md"], commands()) == []


def exit_codes() -> set[int]:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.LeadlineError)]
    return {kind.exit_code for kind in kinds}


def test_every_exit_code_is_documented():
    said = {int(name) for name in first_names(section(DOCS["operations.md"], "Exit codes"))}
    assert exit_codes() | {0, 130} == said


# Records -----------------------------------------------------------------------


def record_faults(text: str) -> list[str]:
    """Rows of the SecondRecord table against its fields: order, names, and whether they can be null."""
    table = rows(section(text, "SecondRecord").partition("\n### ")[0])
    documented = [names(row[0])[0] for row in table]
    wrong = [] if documented == list(SecondRecord.__struct_fields__) else ["the fields are not those of the code, in its order"]
    hints = SecondRecord.__annotations__
    for row, name in zip(table, documented, strict=True):
        nullable, said = "None" in str(hints.get(name, "")), row[3] != "never"
        if nullable != said:
            wrong.append(f"{name}: null {'can' if nullable else 'cannot'} be, the document says {row[3]!r}")
    return wrong


def test_every_field_of_a_record_is_documented_in_order():
    assert record_faults(DOCS["records.md"]) == []


def test_flags_are_documented_with_their_values():
    said = {names(row[0])[0]: int(row[1]) for row in rows(section(DOCS["records.md"], 'Flags and "clean"'))}
    assert said == {str(flag.name): flag.value for flag in Flag}


def test_bands_sizes_and_families_are_documented():
    text = " ".join(section(DOCS["records.md"], "SecondRecord").split())
    assert ", ".join(map(str, BANDS_BPS[:-1])) + f" and {BANDS_BPS[-1]} bps" in text
    assert SIZES_QUOTE == (10_000, 25_000, 50_000, 100_000, 500_000, 1_000_000)
    assert "10k, 25k, 50k, 100k, 500k and 1M" in text
    assert first_names(section(DOCS["store.md"], "Families")) == list(FAMILIES)


def test_fields_of_an_incident_are_documented():
    fields = rows(section(DOCS["records.md"], "Incidents").partition("| kind |")[0])
    assert {name for row in fields for cell in row[:1] for name in names(cell)} == set(Incident.__struct_fields__)


# Incidents ---------------------------------------------------------------------

LOSS = "fault.reason.value"  # the one kind that is no literal: a member of Lost


def incident_kinds(modules: Iterator[tuple[str, ast.Module]]) -> tuple[set[str], set[str], list[str]]:
    """(kinds, literal causes, calls that hide their kind) of every incident the code can write."""
    kinds: set[str] = set()
    causes: set[str] = set()
    hidden: list[str] = []
    for name, tree in modules:
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            at = {"incident": 0, "Incident": 3}.get(called)
            if at is None or "/store/" in name or len(node.args) <= at:
                continue
            kind = node.args[at]
            if isinstance(kind, ast.Constant) and isinstance(kind.value, str):
                kinds.add(kind.value)
            elif ast.unparse(kind) not in {LOSS, "kind"}:
                hidden.append(f"{name}:{node.lineno}: {ast.unparse(kind)}")
            causes |= set(literals(node.args[-2 if called == "Incident" else 3], tree, node))
    return kinds, causes, hidden


def literals(value: ast.expr, tree: ast.Module, call: ast.Call) -> Iterator[str]:
    """The texts that an argument of a call can have; a name is followed to what its function assigns or is given."""
    yield from texts_in(value)
    if not isinstance(value, ast.Name):
        return
    for function in (f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and call in ast.walk(f)):
        parameters = [argument.arg for argument in function.args.args if argument.arg != "self"]
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and value.id in {t.id for t in node.targets if isinstance(t, ast.Name)}:
                yield from texts_in(node.value)
        for node in ast.walk(tree):
            called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            if called == function.name and called != "incident" and value.id in parameters:
                yield from texts_in(node.args[parameters.index(value.id)])


def texts_in(value: ast.expr) -> Iterator[str]:
    """Literals of an expression, without those that are arguments of a call in it."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    if not isinstance(value, ast.Call):
        for child in ast.iter_child_nodes(value):
            if isinstance(child, ast.expr):
                yield from texts_in(child)


def whys() -> list[str]:
    """Patterns of the reasons for which trades are given up."""
    found: list[str] = []
    for path in ("src/leadline/core/trade_chain.py", "src/leadline/service/feed.py"):
        tree = ast.parse(SOURCES[path].read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
            if called in {"_give_up", "give_up", "_ask_again"} or (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "TradesMissing"
            ):
                last = node.args[-1]
                if isinstance(last, ast.Constant):
                    found.append(re.escape(str(last.value)))
                elif isinstance(last, ast.JoinedStr):
                    parts = [re.escape(str(p.value)) if isinstance(p, ast.Constant) else r"\w+" for p in last.values]
                    found.append("".join(parts))
    return found


def incident_rows(text: str) -> list[list[str]]:
    return rows("| kind |" + section(text, "Incidents").partition("| kind |")[2])


def test_every_kind_of_incident_is_documented_and_no_other():
    kinds, _, hidden = incident_kinds(trees())
    assert hidden == []
    documented = {names(row[0])[0] for row in incident_rows(DOCS["records.md"])}
    assert documented == kinds | {str(lost) for lost in Lost}


def test_every_cause_of_an_incident_is_documented():
    said = [name for row in incident_rows(DOCS["records.md"]) for name in names(row[2])]
    _, causes, _ = incident_kinds(trees())
    assert len(causes) > 8
    # One that begins with a blank stands behind something that is filled in.
    assert [c for c in sorted(causes) if c not in said and not (c[0] == " " and any(name.endswith(c) for name in said))] == []
    reasons = whys()
    assert len(reasons) > 6
    assert [reason for reason in reasons if not any(re.fullmatch(reason, name) for name in said)] == []


# Log lines ---------------------------------------------------------------------


def log_lines(modules: Iterator[tuple[str, ast.Module]]) -> dict[str, tuple[set[str], set[str]]]:
    """Message -> (levels, fields) of every call `log.LEVEL(...)`; a call whose message is no literal raises ValueError."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for name, tree in modules:
        dicts = {
            target.id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS):
                continue
            owner = ast.unparse(node.func.value)
            if owner != "log" and not owner.startswith("logging.getLogger("):
                continue
            args = node.args[1:] if node.func.attr == "log" else node.args
            if not (args and isinstance(args[0], ast.Constant) and isinstance(args[0].value, str)):
                raise ValueError(f"{name}:{node.lineno}: the message is no literal")
            levels = {"INFO", "WARN"} if node.func.attr == "log" else {LEVELS[node.func.attr]}
            extra = next((keyword.value for keyword in node.keywords if keyword.arg == "extra"), None)
            held = found.setdefault(args[0].value, (set(), set()))
            held[0].update(levels)
            held[1].update(_fields(extra, dicts))
    return found


def _fields(extra: ast.expr | None, dicts: dict[str, ast.Dict]) -> set[str]:
    if not isinstance(extra, ast.Dict):
        return set()
    found: set[str] = set()
    for key, value in zip(extra.keys, extra.values, strict=True):
        if isinstance(key, ast.Constant):
            found.add(str(key.value))
        elif isinstance(value, ast.Name) and value.id in dicts:
            found |= _fields(dicts[value.id], dicts)
    return found


def is_event(message: str) -> bool:
    return re.fullmatch(r"[a-z_]+", message) is not None


def shape(sentence: str) -> str:
    """A sentence with its blanks made equal: `%s` in the code, `{symbol}` in the document."""
    return re.sub(r"%[sd]|\{\w+\}", "{}", sentence)


def log_faults(text: str, said: dict[str, tuple[set[str], set[str]]]) -> list[str]:
    """Sentences and events that are missing in the document or in the code, or differ in level or fields."""
    wrong: list[str] = []
    sentences = {shape(names(row[1])[0]): {row[0]} for row in rows(section(text, "Sentences"))}
    spoken = {shape(message): levels for message, (levels, _) in said.items() if not is_event(message)}
    for message in sorted(sentences.keys() | spoken.keys()):
        if sentences.get(message) != spoken.get(message):
            wrong.append(f"sentence {message!r}: document {sentences.get(message)}, code {spoken.get(message)}")
    table = {names(row[1])[0]: (set(row[0].split(", ")), set(names(row[2]))) for row in rows(section(text, "Events"))}
    events = {message: found for message, found in said.items() if is_event(message)}
    for event in sorted(table.keys() | events.keys()):
        if table.get(event) != events.get(event):
            wrong.append(f"event {event}: document {table.get(event)}, code {events.get(event)}")
    return wrong


def test_every_log_line_is_documented_and_no_other():
    said = log_lines(trees())
    assert len(said) > 25
    assert log_faults(DOCS["operations.md"], said) == []


# Figures -----------------------------------------------------------------------

FIGURES = {
    "exchange.md": [
        f"at most {sync.BUFFER_MAX:,}; if full",
        f"stays quiet for {sync.QUIET_S:g} s",
        f"after 1, 2, 4 ... {sync.RETRY_MAX_S:g} s",
        f"within {sync.STEADY_S:g} s of LIVE",
        f"the stream brings nothing for {sync.SILENT_S:g} s",
        f"without an update for {feed.QUIET_LOOK_S:g} s",
        f"ran ahead of it for {feed.TICKER_LEAD_S:g} s",
        f"{feed.ANCHOR_PAUSE_S:g} s apart at least",
        f"again after {', '.join(f'{s:g}' for s in trade_chain.RETRY_S[1:-1])} and {trade_chain.RETRY_S[-1]:g} s",
        f"more than {trade_chain.HOLE_MAX:,} ids, or more than {trade_chain.WAITING_MAX:,} live trades",
        f"{trade_chain.PAGE:,} a page",
        f"nothing read for {stream.SILENCE_S:g} s",
        f"open within {stream.CONNECT_S:g} s",
        f"answered within {stream.ACK_S:g} s",
        f"at most {stream.PARAMS_PER_MESSAGE} streams a SUBSCRIBE",
        f"| {', '.join(str(weight) for _, weight in rest.DEPTH_WEIGHTS)} |",
        f"may use {1 - limits.SPARE_SHARE:.0%}".replace("%", " %"),
    ],
    "records.md": [
        f"[now - {recorder.BEHIND_MAX_S} s, now + {recorder.AHEAD_MAX_S} s]",
        f"more than {feed.RECORDING_GAP_S:,} s lie between",
        f"Trimming to {sync.LEVELS_MAX:,} levels",
        f"showed at that price in the {second.DISPLAY_NS // 10**6} ms",
        f"fewer than {minute.ENTRIES_MIN} entries",
    ],
    "store.md": [
        f"{rocks.BLOCK_BYTES >> 10} KiB |",
        f"zstd, level {rocks.ZSTD_LEVEL}",
        f"{rocks.BLOOM_BITS} bits, whole keys",
        f"at most {rocks.WAL_BYTES_MAX >> 20} MiB",
        f"the queue holds {recorder.QUEUE_MAX_S} s",
        f"{retention.FULL_SHARE:.0%} of it".replace("%", " %"),
        f"at most every {sidefile.PERIOD_S} s",
        f"in slices of {codec.SLICE},",
        f"| `format` | {history.FORMAT} |",
    ],
    "operations.md": [f"last {show.GAPS_SHOWN} gaps"],
}


@pytest.mark.parametrize(("name", "figure"), [(name, figure) for name, figures in FIGURES.items() for figure in figures])
def test_a_figure_is_that_of_the_code(name: str, figure: str):
    assert figure in " ".join(DOCS[name].split())


def test_the_plan_of_snapshot_depths_is_that_of_the_code():
    said = [
        [re.sub(r"[ ,]|levels|\(.*\)", "", cell) for cell in row[1:3]]
        for row in rows(section(DOCS["exchange.md"], "Snapshot depth, known range, re-anchor"))
    ]
    assert said == [[str(limit) for limit in depth_limits(count)] for count in (4, 80, 81)]
    assert [depth_limits(count) for count in (1, 5)] == [depth_limits(count) for count in (4, 80)]


# The stand-in ------------------------------------------------------------------


def test_every_fault_is_documented_and_no_other():
    assert sorted(first_names(section(DOCS["standin.md"], "Faults"))) == sorted(ALL_FAULTS)


# Between documents ---------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as they are made on the usual sites."""
    titles = re.findall(r"(?m)^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(path: Path, text: str) -> list[str]:
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        if not place.exists() or (anchor and anchor not in anchors(text if place == path else place.read_text("utf-8"))):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_documents_resolve(path: Path):
    assert broken_links(path, path.read_text(encoding="utf-8")) == []


FOREIGN = re.compile(
    r"(?<![\w.:/`-])/(?:home|root|Users|work|tmp|opt|srv|mnt)/[\w.-]+"
    r"|--(?:extra-)?index-url"
)


@pytest.mark.parametrize("name", DOCS)
def test_a_document_names_no_path_of_a_machine_and_no_registry(name: str):
    assert FOREIGN.findall(DOCS[name]) == []


OUTSIDE = re.compile(r"\b(?:ANALYTICS|STORAGE|BINANCE|STANDIN|SERVING|PITFALLS|PERFORMANCE|PRODUCT)\b(?= (?:section|\d)|\.md)")


def bad_pointers(text: str) -> list[str]:
    """Documents that a source file names and that are not in the checkout, or are known outside of it only."""
    named = re.findall(r"\b((?:docs/)?[\w-]+\.md)\b", text)
    ours = [name for name in named if name.startswith("docs/") or name.isupper() or name.split(".")[0].isupper()]
    wrong = [name for name in ours if not (ROOT / name).is_file() and name != "CHANGELOG.md"]
    return wrong + [match[0] for match in OUTSIDE.finditer(text)]


def test_documents_named_in_the_source_exist():
    paths = [*SOURCES.values(), *(path for path in (ROOT / "tests").rglob("*.py") if path.name != "test_docs.py")]
    found = [f"{path.name}: {name}" for path in paths for name in bad_pointers(path.read_text(encoding="utf-8"))]
    assert found == []
    assert sum("docs/" in path.read_text(encoding="utf-8") for path in SOURCES.values()) > 10


# Each check can fail -------------------------------------------------------------


def test_a_changed_default_is_seen():
    changed = DOCS["settings.md"].replace("`7d` | `LEAD", "`8d` | `LEAD")
    assert changed != DOCS["settings.md"]
    assert generated(changed) == DOCS["settings.md"]


def test_a_wrong_example_is_seen(capsys: pytest.CaptureFixture[str]):
    assert failed_examples("x", "```pycon\n>>> 1 + 1\n3\n```\n") == (1, 1)
    capsys.readouterr()


def test_a_missing_or_invented_command_or_option_is_seen():
    text = "### leadline a\n\n| option | m |\n|---|---|\n| `--x` | x |\n\n### leadline c\n"
    assert command_faults(text, {"leadline a": {"--x", "--y"}, "leadline b": set()}) == [
        "not documented: leadline b",
        "no such command: leadline c",
        "leadline a --y: only in the program",
    ]
    assert command_faults(text.partition("###  leadline c")[0], {"leadline a": set(), "leadline c": set()}) == [
        "leadline a --x: only in the document"
    ]


def test_a_field_that_is_missing_or_wrongly_never_null_is_seen():
    text = DOCS["records.md"]
    swapped = re.sub(r"(?m)^(\| `event_ms`.*\n)(\| `recv_ms`.*\n)", r"\2\1", text)
    assert swapped != text
    assert record_faults(swapped) == ["the fields are not those of the code, in its order"]
    never = re.sub(r"(?m)^(\| `update_id` \| id \| .* \|) not LIVE \|$", r"\1 never |", text)
    assert never != text
    assert record_faults(never) == ["update_id: null can be, the document says 'never'"]


def test_an_incident_of_another_kind_is_seen():
    tree = ast.parse("self.incident('new_kind', 1, 2, 'new cause', '')\nself.incident(made_up(), 1, 2, 'c', '')")
    kinds, causes, hidden = incident_kinds(iter([("x.py", tree)]))
    assert (kinds, causes, hidden) == ({"new_kind"}, {"new cause", "c"}, ["x.py:2: made_up()"])


def test_a_log_line_that_differs_is_seen():
    text = "## Sentences\n\n| INFO | `Stored {x}` | a |\n\n## Events\n\n| WARN | `gone` | `a` |\n| INFO | `same` | `a`, `b` |\n"
    tree = ast.parse(
        "f = {'a': 1}\nlog.info('same', extra={**f, 'b': 2})\nlog.error('gone', extra={'a': 1})\nlog.info('Saved %s', x)\n"
        "log.info('new_one')"
    )
    assert log_faults(text, log_lines(iter([("x.py", tree)]))) == [
        "sentence 'Saved {}': document None, code {'INFO'}",
        "sentence 'Stored {}': document {'INFO'}, code None",
        "event gone: document ({'WARN'}, {'a'}), code ({'ERROR'}, {'a'})",
        "event new_one: document None, code ({'INFO'}, set())",
    ]
    with pytest.raises(ValueError, match=r"x.py:1: the message is no literal"):
        log_lines(iter([("x.py", ast.parse("log.info(message)"))]))


def test_a_broken_link_is_seen():
    path = ROOT / "docs" / "store.md"
    text = "[a](records.md) [b](nothing.md) [c](https://example.org/x) [d](#title) [e](#none) [f](records.md#none)\n# Title\n"
    assert broken_links(path, text) == ["nothing.md", "#none", "records.md#none"]


@pytest.mark.parametrize("text", ["in /srv/x", "see /opt/x", "pip install --index-url x"])
def test_a_path_or_a_registry_is_seen(text: str):
    assert FOREIGN.search(text)


@pytest.mark.parametrize(
    "text", ["docs/nothing.md", "see NOTHING.md", "STORAGE 6", "BINANCE section 3", "ANALYTICS 1.2", "PITFALLS.md"]
)
def test_a_pointer_to_nowhere_is_seen(text: str):
    assert bad_pointers(text)


@pytest.mark.parametrize(
    "text", ["docs/store.md", "Binance web-socket-streams.md", "BINANCE_API_KEY", "STANDIN_HEADER", "README.md"]
)
def test_a_good_pointer_is_none(text: str):
    assert bad_pointers(text) == []
