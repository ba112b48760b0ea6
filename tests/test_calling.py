"""Calls from the command line: words to arguments, over a service, how a failure exits, what people are shown."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.fakes import FakeClock
from tests.service import desks

from leadline import calling
from leadline.core import errors
from leadline.core.errors import InvalidRequest, Unreachable
from leadline.serve.doors import Binds, Doors
from leadline.serve.errors import TABLE, Failed, Failure
from leadline.serve.guard import Rules
from leadline.serve.tools import TOOLS

BTC = "BTCUSDT"


@contextmanager
def service(rules: Rules | None = None) -> Iterator[str]:
    """A running HTTP door in a loop of its own, for a client that blocks; its address."""
    opened, stop = threading.Event(), asyncio.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        found["loop"] = asyncio.get_running_loop()
        doors = Doors(FakeClock((desks.LAST + 1) * 10**9))
        doors.dispatcher.desk = desks.desk()
        async with doors.open(Binds("", "127.0.0.1:0", rules or Rules())):
            found["url"] = f"http://127.0.0.1:{doors.http_port}"
            opened.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert opened.wait(30)
    try:
        yield found["url"]
    finally:
        found["loop"].call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()


# Words -----------------------------------------------------------------------------------


def test_words_become_arguments_and_json_is_taken_as_such():
    words = ["symbol=BTCUSDT", "levels=5", 'options={"orderbook_levels": 3}', "list=[1, 2]", "note=a=b", "empty="]
    assert calling.arguments(words) == {
        "symbol": "BTCUSDT",
        "levels": "5",
        "options": {"orderbook_levels": 3},
        "list": [1, 2],
        "note": "a=b",
        "empty": "",
    }


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["symbol"], "symbol"),
        (["=x"], "=x"),
        ([""], ""),
        (["a=1", "a=2"], "a"),
        (["options={"], "options"),
        (["options=[1,"], "options"),
        (["options=" + "[" * 100_000], "options"),
    ],
)
def test_words_that_are_no_arguments_are_refused(words: list[str], field: str):
    with pytest.raises(InvalidRequest) as refused:
        calling.arguments(words)
    assert refused.value.field == field


# Over a service ----------------------------------------------------------------------------


def test_over_a_service_words_are_numbers_where_the_tool_wants_them():
    with service() as url:
        given = calling.arguments(["symbol=btcusdt", "window_duration_secs=120"])
        answer = calling.over_service(url + "/", "binance.get_order_flow", given)
        report = calling.over_service(url, "generate_market_report", {"symbol": BTC, "options": {"volume_window_hours": 1}})
    assert answer["envelope"]["coverage"]["expected_s"] == 120
    assert report["markdown"].startswith("#")


def test_a_failure_of_the_service_is_the_failure_of_the_call():
    with service() as url:
        with pytest.raises(Failed) as failed:
            calling.over_service(url, "get_order_flow", {"symbol": "BTCUSD"})
        assert (failed.value.failure.error, failed.value.exit_code) == ("UnknownSymbol", 3)
        assert failed.value.failure.fields["symbol"] == "BTCUSD"
        with pytest.raises(InvalidRequest):
            calling.over_service(url, "get_order_flow", {"symbol": BTC, "window_duration_secs": "9"})


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "nonsense", "http://", "file:///etc/passwd", "http://[", "ftp://127.0.0.1:1"]
)
def test_where_no_service_answers_it_is_unreachable(url: str):
    with pytest.raises(Unreachable) as refused:
        calling.over_service(url, "list_symbols", {})
    assert refused.value.exit_code == 5


def test_a_token_that_is_missing_is_told():
    with service(Rules(token="secret")) as url, pytest.raises((Failed, Unreachable)) as refused:
        calling.over_service(url, "list_symbols", {})
    assert isinstance(refused.value, Failed)
    assert (refused.value.failure.error, refused.value.exit_code) == ("Unauthenticated", 5)


def test_with_the_token_there_is_an_answer():
    with service(Rules(token="secret")) as url:
        assert calling.over_service(url, "list_symbols", {}, "secret")["symbols"]


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        ("InvalidRequest", 2),
        ("UnknownName", 3),
        ("UnknownSymbol", 3),
        ("BookNotLive", 4),
        ("NotEnoughData", 4),
        ("Deadline", 4),
        ("RateLimited", 4),
        ("Overloaded", 4),
        ("ExchangeError", 5),
        ("Rejected", 5),
        ("Unreachable", 5),
        ("Unauthenticated", 5),
        ("StoreError", 6),
        ("StoreFull", 6),
        ("StoreCorrupt", 6),
        ("RecordUnreadable", 6),
        ("InternalError", 1),
    ],
)
def test_each_failure_exits_with_the_number_of_its_class(kind: str, exit_code: int):
    assert Failed(Failure(error=kind, message="", retryable=False, fields={})).exit_code == exit_code


def test_every_class_that_can_be_told_has_the_number_it_would_have_here():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, tuple(TABLE))]
    assert len(kinds) >= len(TABLE)
    for kind in kinds:
        failed = Failed(Failure(error=kind.__name__, message="", retryable=False, fields={}))
        assert failed.exit_code == kind.exit_code, kind


# What people are shown ---------------------------------------------------------------------


def test_the_listing_has_every_tool(capsys: pytest.CaptureFixture[str]):
    calling.listing("json")
    listed = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in listed] == [tool.name for tool in TOOLS]
    calling.listing("table")
    shown = capsys.readouterr().out
    assert all(tool.name in shown for tool in TOOLS)


def test_an_answer_as_json_is_the_answer(capsys: pytest.CaptureFixture[str]):
    answer = {"reading": "größer", "rows": [1, None], "envelope": {}}
    calling.show(answer, "json")
    assert json.loads(capsys.readouterr().out) == answer


def test_an_answer_for_people_says_what_is_missing_and_why(capsys: pytest.CaptureFixture[str]):
    rows = [{"price": "1.0", "size": n, "more": {}} for n in range(calling.ROWS_SHOWN + 2)]
    calling.show(
        {
            "reading": "Quiet [bold]market[/bold].",
            "mid": None,
            "spread": 0.5,
            "walls": rows,
            "reasons": {"mid": "one side is empty"},
            "envelope": {"warnings": ["old [data]"], "origin": "synthetic:7", "source": "store", "age_ms": None},
        },
        "table",
    )
    shown = capsys.readouterr().out
    assert shown.startswith("Quiet [bold]market[/bold].")
    assert "mid: none (one side is empty)" in shown and "spread: 0.5" in shown
    assert "... and 2 more" in shown and "more " not in shown.splitlines()[4]
    assert "note: old [data]" in shown and "origin synthetic:7  source store" in shown and "age_ms" not in shown


def test_a_report_is_shown_as_it_is_written(capsys: pytest.CaptureFixture[str]):
    calling.show({"markdown": "# Report\n[x] | a |", "reading": "no"}, "table")
    assert capsys.readouterr().out == "# Report\n[x] | a |\n"
