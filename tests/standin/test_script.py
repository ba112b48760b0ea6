"""Scripts of faults: what a file, a command line and a random entry mean, and in what order things are done."""

import pytest

from leadline.standin.faults import FaultRequest
from leadline.standin.script import Entry, NotAScript, Scenario, Script, command_line, scenario

SECOND_NS = 10**9

FILE = """
seed = 7
start = 2026-01-01T00:00:00Z
symbols = ["BTCUSDT", "ETHUSDT"]

[[script]]
at = 12.5
fault = "diff.drop"
symbol = "BTCUSDT"
count = 2

[[script]]
at = 60
for = 90
fault = "trades.drop"

[[script]]
every = 3600
seed = 3
fault = "socket.half_open"
"""


def test_a_file_says_market_and_entries() -> None:
    assert scenario(FILE) == Scenario(
        seed=7,
        start_ms=1_767_225_600_000,
        symbols=("BTCUSDT", "ETHUSDT"),
        entries=(
            Entry(at_s=12.5, request=FaultRequest(fault="diff.drop", symbol="BTCUSDT", count=2)),
            Entry(at_s=60, request=FaultRequest(fault="trades.drop", for_s=90)),
            Entry(every_s=3600, seed=3, request=FaultRequest(fault="socket.half_open")),
        ),
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("seed = ", "Invalid value"),
        ("sed = 7", "unknown key 'sed'"),
        ('seed = "x"', "Expected"),
        ('[[script]]\nat = 1\nfault = "diff.nonsense"', "none of"),
        ('[[script]]\nat = 1\nfault = "diff.drop"\ncout = 2', "unknown field `cout`"),
        ('[[script]]\nat = -1\nfault = "diff.drop"', ">= 0"),
        ('[[script]]\nevery = 0\nfault = "diff.drop"', "> 0"),
        ("[[script]]\nat = 1", "fault"),
        ("start = 12", "Expected `datetime`"),
    ],
)
def test_what_is_no_script_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(NotAScript, match=why):
        scenario(text)


def test_a_command_line_says_one_entry() -> None:
    assert command_line("rest.status at=3 status=429 path=depth retry_after_s=5") == Entry(
        at_s=3, request=FaultRequest(fault="rest.status", status=429, path="depth", retry_after_s=5)
    )
    assert command_line("socket.reset") == Entry(request=FaultRequest(fault="socket.reset"))
    assert command_line("diff.drop count=null").request.strikes is None
    for bad in ("", "diff.drop symbol", "diff.nonsense", "diff.drop at=soon"):
        with pytest.raises(NotAScript):
            command_line(bad)


@pytest.mark.parametrize(
    ("request_", "strikes"),
    [(FaultRequest(fault="x"), 1), (FaultRequest(fault="x", for_s=3), None), (FaultRequest(fault="x", for_s=3, count=2), 2)],
)
def test_a_fault_strikes_once_or_until_its_end_if_nothing_is_said(request_: FaultRequest, strikes: int | None) -> None:
    assert request_.strikes == strikes


def test_things_are_done_when_due_and_in_the_order_in_which_they_came() -> None:
    script, done = Script(), []
    for name, at_ns in (("late", 50), ("first", 10), ("second", 10)):
        script.at(at_ns, lambda name=name: done.append(name))  # type: ignore[misc]
    assert script.next_ns() == 10
    script.run(9)
    assert done == []
    script.run(10)
    assert (done, script.next_ns()) == (["first", "second"], 50)
    script.run(1000)
    assert (done, script.next_ns()) == (["first", "second", "late"], None)


def test_entries_strike_at_their_time_after_the_start() -> None:
    script, struck = Script(), []
    script.play(scenario(FILE).entries[:2], 1000 * SECOND_NS, struck.append)
    assert script.next_ns() == 1012_500_000_000
    script.run(1060 * SECOND_NS)
    assert [request.fault for request in struck] == ["diff.drop", "trades.drop"]


def test_random_entries_come_as_often_as_they_should_and_the_same_for_the_same_seed() -> None:
    """Once an hour on average: in 1,000 hours 1,000 times, give or take four deviations of 32."""

    def times(seed: int) -> list[int]:
        script, found = Script(), []
        script.play([Entry(every_s=3600, seed=seed, request=FaultRequest(fault="socket.reset"))], 0, lambda _: None)
        while (due := script.next_ns()) is not None and due < 1000 * 3600 * SECOND_NS:
            found.append(due)
            script.run(due)
        return found

    assert 870 < len(times(3)) < 1130
    assert times(3) == times(3) != times(4)
