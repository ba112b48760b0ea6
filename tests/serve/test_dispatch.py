"""A call from its name to its outcome: deadline, cancellation, starting, our own bugs, and the counts of all."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Struct, structs
from tests.fakes import FakeClock, RestlessClock, run, settle
from tests.service import desks

from leadline.core.errors import InvalidRequest, NotEnoughData
from leadline.serve import dispatch
from leadline.serve.dispatch import Dispatcher
from leadline.serve.requests import SymbolRequest
from leadline.serve.tools import NO_ACCOUNT, TOOLS, Tool
from leadline.service.steps import Steps


class Said(Struct, frozen=True):
    """An answer. said: what."""

    said: str


def a_tool(run: Callable[..., Any]) -> Tool:
    return Tool(name="get_said", request=SymbolRequest, result=Said, run=run, help="Says.")


def given(monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]) -> None:
    """One more row in the table, found under every name."""
    monkeypatch.setattr(dispatch, "tool_of", lambda name: a_tool(run))


def ready(clock: Any, **how: Any) -> Dispatcher:
    dispatcher = Dispatcher(clock, **how)
    dispatcher.desk = desks.desk()
    return dispatcher


SYMBOL = {"symbol": "BTCUSDT"}


def test_a_question_that_outlives_its_deadline_is_given_up_and_closed(monkeypatch: pytest.MonkeyPatch):
    """Each look at the clock takes 0.25 s. The call looks once at its start (0.25), then after each step, and once for the pause:
    after step n it is 0.25 + 0.25 (2n - 1) of which 0.25 passed before it began. 0.25 (2n - 1) > 2 first holds at n = 5."""
    steps: list[str] = []

    def endless(desk: Any, request: Any) -> Steps[Said]:
        try:
            while True:
                steps.append("step")
                yield
        finally:
            steps.append("closed")

    given(monkeypatch, endless)
    dispatcher = ready(RestlessClock(0.25), deadline_s=2.0)
    outcome = run(dispatcher.call("get_said", SYMBOL, transport="http"))
    assert (outcome.value, outcome.failure.error, outcome.failure.fields) == (None, "Deadline", {"after_s": 2.0})
    assert (outcome.failure.retryable, outcome.door.http, outcome.door.grpc) == (True, 504, "DEADLINE_EXCEEDED")
    assert steps == ["step"] * 5 + ["closed"]
    assert dispatcher.calls == {("get_said", "http", "Deadline"): 1}


def test_a_call_that_is_cancelled_closes_its_question_and_counts_as_none(monkeypatch: pytest.MonkeyPatch):
    seen: list[str] = []

    def endless(desk: Any, request: Any) -> Steps[Said]:
        try:
            while True:
                yield
        finally:
            seen.append("closed")

    given(monkeypatch, endless)
    dispatcher = ready(FakeClock())

    async def check() -> None:
        calling = asyncio.create_task(dispatcher.call("get_said", SYMBOL, transport="http"))
        await settle()
        assert seen == [] and not calling.done()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert seen == ["closed"]

    run(check())
    assert not dispatcher.calls


def test_an_awaited_question_that_hangs_is_cancelled_at_its_deadline_by_our_clock(monkeypatch: pytest.MonkeyPatch):
    seen: list[str] = []

    async def hangs(desk: Any, request: Any) -> Said:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")
        raise AssertionError("it never ends")

    given(monkeypatch, hangs)
    clock = FakeClock()
    dispatcher = ready(clock, deadline_s=2.0)

    async def check() -> None:
        tasks = asyncio.all_tasks()
        calling = asyncio.create_task(dispatcher.call("get_said", SYMBOL, transport="http"))
        await clock.advance(1.99)
        assert seen == [] and not calling.done()
        await clock.advance(0.01)
        outcome = await calling
        assert (outcome.failure.error, outcome.failure.fields, seen) == ("Deadline", {"after_s": 2.0}, ["cancelled"])
        assert asyncio.all_tasks() == tasks

    run(check())
    assert dispatcher.calls == {("get_said", "http", "Deadline"): 1}


def test_what_an_awaited_question_does_when_it_is_cancelled_does_not_hide_the_deadline(monkeypatch: pytest.MonkeyPatch):
    async def stubborn(desk: Any, request: Any) -> Said:
        try:
            await asyncio.Event().wait()
        finally:
            raise NotEnoughData(3, 10, "s", 0.3, 7.0)

    given(monkeypatch, stubborn)
    clock = FakeClock()

    async def check() -> None:
        calling = asyncio.create_task(ready(clock, deadline_s=2.0).call("get_said", SYMBOL, transport="http"))
        await clock.advance(2)
        assert (await calling).failure.error == "Deadline"

    run(check())


def test_an_awaited_question_has_its_own_failures_and_leaves_no_alarm_behind(monkeypatch: pytest.MonkeyPatch):
    async def short(desk: Any, request: Any) -> Said:
        await asyncio.sleep(0)
        raise NotEnoughData(3, 10, "s", 0.3, 7.0)

    given(monkeypatch, short)

    async def check() -> None:
        tasks = asyncio.all_tasks()
        outcome = await ready(FakeClock()).call("get_said", SYMBOL, transport="http")
        assert outcome.failure.fields == {"have": 3, "need": 10, "unit": "s", "coverage": 0.3, "ready_in_s": 7.0}
        assert asyncio.all_tasks() == tasks

    run(check())


def test_an_awaited_question_whose_caller_goes_is_cancelled_and_counts_as_none(monkeypatch: pytest.MonkeyPatch):
    seen: list[str] = []

    async def hangs(desk: Any, request: Any) -> Said:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")
        raise AssertionError("it never ends")

    given(monkeypatch, hangs)
    dispatcher = ready(FakeClock())

    async def check() -> None:
        tasks = asyncio.all_tasks()
        calling = asyncio.create_task(dispatcher.call("get_said", SYMBOL, transport="http"))
        await settle()
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert seen == ["cancelled"] and asyncio.all_tasks() == tasks

    run(check())
    assert not dispatcher.calls


def test_a_reader_of_progress_who_stopped_reading_does_not_outlive_the_deadline(monkeypatch: pytest.MonkeyPatch):
    seen: list[str] = []

    def endless(desk: Any, request: Any) -> Steps[Said]:
        try:
            while True:
                yield
        finally:
            seen.append("closed")

    async def progress(done: int) -> None:
        await asyncio.Event().wait()

    given(monkeypatch, endless)
    clock = FakeClock()

    async def check() -> None:
        calling = asyncio.create_task(ready(clock, deadline_s=2.0).call("get_said", SYMBOL, transport="mcp", progress=progress))
        await clock.advance(2)
        assert ((await calling).failure.error, seen) == ("Deadline", ["closed"])

    run(check())


@pytest.mark.parametrize(("rest", "most"), [(False, 64), (True, 16)])
def test_so_many_calls_at_once_and_each_one_more_is_refused_at_once(rest: bool, most: int, monkeypatch: pytest.MonkeyPatch):
    """Those under way are not touched by it, those of the other kind come in, and each that ends or goes makes room for one."""
    free = asyncio.Event()

    def steps(desk: Any, request: Any) -> Steps[Said]:
        while not free.is_set():
            yield
        return Said("done")

    async def awaited(desk: Any, request: Any) -> Said:
        await free.wait()
        return Said("done")

    kinds = {kind: structs.replace(a_tool(awaited if kind else steps), rest=kind) for kind in (False, True)}
    monkeypatch.setattr(dispatch, "tool_of", lambda name: kinds[name == "rest"])
    dispatcher = ready(FakeClock())

    def call(kind: bool) -> Any:
        return asyncio.create_task(dispatcher.call("rest" if kind else "ours", SYMBOL, transport="http"))

    async def check() -> None:
        calls = [call(rest) for _ in range(most)]
        await settle()
        for _ in range(3):
            beyond = await dispatcher.call("rest" if rest else "ours", SYMBOL, transport="http")
            assert (beyond.failure.error, beyond.failure.retryable) == ("Overloaded", True)
            assert (beyond.door.http, beyond.door.grpc) == (429, "RESOURCE_EXHAUSTED")
            assert beyond.failure.fields == {"retry_after_s": 1.0}
        wrong = await dispatcher.call("rest" if rest else "ours", {}, transport="http")
        assert wrong.failure.error == "InvalidRequest"
        other = call(not rest)
        calls.pop().cancel()
        await settle()
        calls.append(call(rest))
        await settle()
        assert not any(one.done() for one in (*calls, other))
        free.set()
        assert {(await one).value for one in (*calls, other)} == {Said("done")}
        assert (await call(rest)).value == Said("done")

    run(check())


def test_others_run_while_a_long_question_is_asked(monkeypatch: pytest.MonkeyPatch):
    order: list[str] = []

    def long(desk: Any, request: Any) -> Steps[Said]:
        for n in range(3):
            order.append(f"step {n}")
            yield
        return Said("done")

    given(monkeypatch, long)
    dispatcher = ready(FakeClock())

    async def other() -> None:
        for _ in range(3):
            order.append("other")
            await asyncio.sleep(0)

    async def check() -> None:
        outcome, _ = await asyncio.gather(dispatcher.call("get_said", SYMBOL, transport="http"), other())
        assert outcome.value == Said("done")

    run(check())
    assert order == ["step 0", "other", "step 1", "other", "step 2", "other"]


def test_progress_is_told_after_each_step(monkeypatch: pytest.MonkeyPatch):
    told: list[int] = []

    def three(desk: Any, request: Any) -> Steps[Said]:
        yield
        yield
        yield
        return Said("done")

    async def progress(done: int) -> None:
        told.append(done)

    given(monkeypatch, three)
    outcome = run(ready(FakeClock()).call("get_said", SYMBOL, transport="http", progress=progress))
    assert (outcome.value, told) == (Said("done"), [1, 2, 3])


def test_an_awaited_answer_is_an_answer(monkeypatch: pytest.MonkeyPatch):
    async def later(desk: Any, request: Any) -> Said:
        await asyncio.sleep(0)
        return Said(request.symbol)

    given(monkeypatch, later)
    assert run(ready(FakeClock()).call("get_said", SYMBOL, transport="http")).value == Said("BTCUSDT")


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_while_the_service_starts_every_tool_says_so(tool: Tool):
    from tests.serve.test_requests import VALID

    outcome = run(Dispatcher(FakeClock()).call(tool.name, VALID[tool.name], transport="grpc"))
    assert (outcome.failure.error, outcome.failure.fields["reason"]) == ("BookNotLive", "starting")
    symbol = VALID[tool.name].get("symbol", "any symbol")
    assert (outcome.failure.fields["symbol"], outcome.failure.retryable, outcome.door.http) == (symbol, True, 503)


def test_a_wrong_request_is_refused_as_such_even_while_the_service_starts():
    outcome = run(Dispatcher(FakeClock()).call("get_order_flow", {}, transport="grpc"))
    assert (outcome.failure.error, outcome.failure.fields["field"]) == ("InvalidRequest", "symbol")


@pytest.mark.parametrize("when", ["at once", "in a step", "awaited"])
def test_a_bug_in_a_question_is_noted_once_under_the_id_that_the_caller_gets(
    when: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def at_once(desk: Any, request: Any) -> Any:
        raise ZeroDivisionError("a secret of the house")

    def in_a_step(desk: Any, request: Any) -> Steps[Said]:
        yield
        raise ZeroDivisionError("a secret of the house")

    async def awaited(desk: Any, request: Any) -> Said:
        raise ZeroDivisionError("a secret of the house")

    given(monkeypatch, {"at once": at_once, "in a step": in_a_step, "awaited": awaited}[when])
    dispatcher = ready(FakeClock())
    first, second = (run(dispatcher.call("get_said", SYMBOL, transport="http")) for _ in range(2))
    ids = [outcome.failure.fields["correlation_id"] for outcome in (first, second)]
    assert (first.failure.error, first.failure.retryable, first.door.http) == ("InternalError", False, 500)
    assert first.failure.message == f"internal error, noted as {ids[0]}" and ids[0] != ids[1]
    assert "secret" not in repr(first.failure)
    errors = [(record.getMessage(), record.id, record.tool) for record in caplog.records if record.levelno >= logging.ERROR]
    assert errors == [("tool_failed", one, "get_said") for one in ids]
    assert all(record.exc_info for record in caplog.records)
    assert dispatcher.calls == {("get_said", "http", "InternalError"): 2}


def test_expected_failures_are_not_errors_of_the_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    def short(desk: Any, request: Any) -> Steps[Said]:
        yield
        raise NotEnoughData(3, 10, "s", 0.3, 7.0)

    given(monkeypatch, short)
    outcome = run(ready(FakeClock()).call("get_said", SYMBOL, transport="http"))
    assert outcome.failure.fields == {"have": 3, "need": 10, "unit": "s", "coverage": 0.3, "ready_in_s": 7.0}
    assert outcome.failure.message == "Insufficient historical data: have 3 s, need 10 s, ready in 7 s"
    assert caplog.records == []


def test_calls_are_counted_by_tool_transport_and_outcome_and_unknown_names_together():
    """RestlessClock: each look takes 1 s; a call that fails at its name looks at its begin and at its end: 1 s each."""
    dispatcher = ready(RestlessClock(1.0))

    async def check() -> None:
        for name in ("nonsense", "other nonsense", "x" * 100_000, "get_order_flo"):
            outcome = await dispatcher.call(name, {}, transport="http")
            assert (outcome.tool, outcome.failure.error) == (None, "UnknownName")
            assert len(outcome.failure.message) < 200
        await dispatcher.call("binance.list_symbols", {}, transport="grpc")
        await dispatcher.call("binance_list_symbols", {}, transport="grpc")
        await dispatcher.call("list_symbols", {"x": 1}, transport="cli")

    run(check())
    assert dispatcher.calls == {
        ("other", "http", "UnknownName"): 4,
        ("list_symbols", "grpc", "ok"): 2,
        ("list_symbols", "cli", "InvalidRequest"): 1,
    }
    assert dispatcher.seconds["other"] == 4.0


@pytest.mark.parametrize("prefix", ["", "binance.", "binance_"])
@pytest.mark.parametrize("name", sorted(NO_ACCOUNT))
def test_names_of_trading_are_refused_because_there_is_no_account(name: str, prefix: str):
    outcome = run(ready(FakeClock()).call(prefix + name, {}, transport="http"))
    assert outcome.failure.error == "UnknownName" and "leadline is read-only and holds no account" in outcome.failure.message


def test_a_name_that_is_nearly_right_is_told():
    outcome = run(ready(FakeClock()).call("get_orderflow", {}, transport="http"))
    assert outcome.failure.fields["near"][0] == "get_order_flow"


def test_numbers_as_text_are_taken_from_a_command_line_only():
    dispatcher = ready(FakeClock())
    given = {"symbol": "BTCUSDT", "window_duration_secs": "60"}
    assert run(dispatcher.call("get_order_flow", given, transport="cli", lax=True)).failure is None
    assert run(dispatcher.call("get_order_flow", given, transport="http")).failure.error == InvalidRequest.__name__
