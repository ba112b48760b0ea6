"""Each bench runs with little data and says what it should say. No speed is asserted: that is what the benches are for."""

import gzip
import importlib
import sys

import pytest
from bench import material
from bench.__main__ import NAMES, main
from bench.rows import Row, ceiling, interleaved, percentile, table
from tests.captures import captures

from leadline.exchange.binance.wire import FrameDecoder, RawTrade


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLINE_CAPTURES", str(captures()))


@pytest.mark.usefixtures("recordings")
@pytest.mark.parametrize("name", NAMES)
def test_each_bench_tells_figures_with_units_and_all_that_has_a_bar_is_judged(name: str) -> None:
    rows = importlib.import_module(f"bench.{name}").run(True)
    assert rows
    for row in rows:
        assert (row.value is None) == bool(row.not_run), row
        assert row.value is None or (row.unit and (row.value > 0 or row.unit == "correlation")), row
        assert (row.met is None) == (not row.bar), row
        assert (row.baseline_value is None) == (not row.baseline), row


@pytest.mark.usefixtures("recordings")
def test_a_rebuilt_frame_is_the_recorded_one_byte_for_byte() -> None:
    decoder, seen = FrameDecoder(), 0
    for file in (material.BIG[0], material.THIN[0][0]):
        with gzip.open(captures() / file, "rb") as lines:
            for line in list(lines)[1:2000]:
                stamp, _, data = line.rstrip().partition(b" ")
                if not data.startswith(b'{"stream"'):
                    continue
                event = decoder.decode(data, 1)
                if event is None or isinstance(event, RawTrade):
                    continue
                assert material.frame(event) == data, stamp
                seen += 1
    assert seen > 1000


@pytest.mark.usefixtures("recordings")
def test_a_recording_repeated_loses_no_book_no_trade_and_no_agreement_with_its_ticker() -> None:
    """Four turns of a 30 s recording, as it is and moved by three steps."""
    thin = max(material.streams(material.THIN[1]).values(), key=lambda stream: len(stream.events))
    members = [material.Member("PLAIN", thin, 0), material.Member("MOVED", thin, 3)]
    feeds = {member.name: material.live_feed(member) for member in members}
    for number, events in enumerate(material.seconds_of(members, 120)):
        for event in events:
            feeds[event.symbol].handle(event, event.ts_recv_ns / 1e9, event.ts_recv_ns)
        for feed in feeds.values():
            material.tick(feed, material.START_S + number + 1)
    for feed in feeds.values():
        assert (feed.sync.epoch, feed.gaps, feed.crossings, feed.trades_missing, feed.audit.mismatches) == (1, 0, 0, 0, 0)
        assert feed.audit.checks > 100
    plain, moved = (feed.sync.book for feed in feeds.values())
    assert moved.best_bid[0] - plain.best_bid[0] == 3 * thin.tick_e8


def test_a_missed_bar_is_shown_as_missed() -> None:
    rows = [
        ceiling("slow", 3.0, "us", 2, baseline="bare", baseline_value=1.5),
        ceiling("quick", 1.0, "us", 2),
        Row("absent", None, "us", not_run="not run: why"),
    ]
    text = table(rows, markdown=False)
    slow, quick, absent = text.splitlines()[1:]
    assert "2.00x" in slow and "bare: 1.50 us" in slow and slow.endswith("< 2 us  MISSED")
    assert quick.endswith("< 2 us  met")
    assert absent.endswith("not run: why")
    assert table(rows, markdown=True).splitlines()[2] == "| slow | 3.00 us | bare: 1.50 us | 2.00x | < 2 us | MISSED |"


def test_medians_and_ranks() -> None:
    turns = iter([5.0, 1.0, 3.0])
    assert interleaved({"a": lambda: next(turns)}, 3) == {"a": 3.0}
    assert percentile(range(1, 101), 0.99) == 100
    assert percentile([7.0], 0.5) == 7.0


def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "nonsense"])
    with pytest.raises(SystemExit):
        main()
    assert "no such bench: nonsense" in capsys.readouterr().err
