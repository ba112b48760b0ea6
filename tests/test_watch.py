"""`leadline watch` as its users meet it: pictures by hand, lines against the market, ends on a real terminal and in a pipe."""

import asyncio
import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console
from tests.client.doors import neighbour
from tests.fakes import FakeClock, run
from tests.serve.market import BTC, House, until
from tests.store import samples

from leadline import watch
from leadline.client import Book, Hole, Level, News, Trade, TradeNews
from leadline.core.errors import BookNotLive, InvalidRequest, UnknownSymbol, Unreachable
from leadline.service import fanout

E8 = 10**8
NOON_NS = 1_723_204_800_000_000_000  # 2024-08-09 12:00:00 UTC


def level(price: str, quantity: str) -> Level:
    return Level(int(Decimal(price) * E8), int(Decimal(quantity) * E8))


def book(**what: Any) -> Book:
    given = {
        "bids": (level("99.5", "12.25"), level("99.4", "1"), level("98", "1000.5")),
        "asks": (level("100", "0.75"), level("100.1", "3")),
        "symbol": BTC,
        "news": News.BOOK,
        "state": "LIVE",
        "epoch": 3,
        "update_id": 77,
        "depth": 5,
        "exchange_time_ms": NOON_NS // 10**6 + 5,
        "origin": "synthetic:7",
        "tick_size": Decimal("0.01"),
        "step_size": Decimal("0.001"),
    }
    return Book(**(given | what))


def trade(agg_id: int, price: str, quantity: str, *, sold: bool = False) -> Trade:
    price_e8, quantity_e8 = level(price, quantity)
    return Trade(BTC, agg_id, price_e8, quantity_e8, agg_id, agg_id, NOON_NS + agg_id * 1_000_000, sold)


def picture(*items: Book | TradeNews, depth: int = 3, width: int = 80, height: int = 24) -> list[str]:
    """The lines of a terminal of that size."""
    out = io.StringIO()
    screen = watch.Screen(BTC, depth, Console(file=out, width=width, height=height, force_terminal=False))
    for item in items:
        if isinstance(item, Book):
            screen.book(item)
        else:
            screen.trades(item)
    screen.close()
    lines = out.getvalue().splitlines()
    assert len(lines) <= height and max(map(len, lines)) <= width
    return [line.rstrip() for line in lines]


# Pictures --------------------------------------------------------------------------------


def test_a_book_and_its_trades_at_eighty_columns():
    trades = TradeNews(
        symbol=BTC, news=News.TRADES, state="LIVE", trades=(trade(1, "99.5", "2", sold=True), trade(2, "100", "0.125"))
    )
    assert picture(book(), trades) == [
        "BTCUSDT  LIVE                                       synthetic:7, not real prices",
        "update 77   12:00:00.005 UTC   epoch 3",
        "",
        "       price      quantity │ trade, UTC                price      quantity",
        "                           │ 12:00:00.002  buy        100.00         0.125",
        "      100.10         3.000 │ 12:00:00.001  sell        99.50         2.000",
        "      100.00         0.750 │",
        "        spread 0.5         │",
        "       99.50        12.250 │",
        "       99.40         1.000 │",
        "       98.00      1000.500 │",
    ]


@pytest.mark.parametrize(
    ("state", "word", "why"),
    [
        ("STALE", "RECOVERING", "gap: U 12 after u 9"),
        ("WAITING", "STARTING", "gap: U 12 after u 9"),
        ("SYNCING", "STARTING", "gap: U 12 after u 9"),
        ("OFF", "OFF", "gap: U 12 after u 9"),
        ("UNKNOWN", "NOT HEARD", "gap: U 12 after u 9"),
    ],
)
def test_a_lost_book_leaves_nothing_but_its_reason(state: str, word: str, why: str):
    lost = book(state=state, news=News.STATUS, reason="gap", detail="U 12 after u 9", bids=(), asks=(), tick_size=None)
    lines = picture(book(), lost)
    assert (lines[0].split("  ")[:2], lines[1]) == ([BTC, word], why)
    ladder = [line.partition(" │")[0].strip() for line in lines[4:]]
    assert ladder == ["", "", "", "no live book", "", "", ""]


def test_what_must_be_known_of_a_live_book_stands_beside_its_state():
    assert picture(book(reason="not_trading"))[0].startswith("BTCUSDT  LIVE  not_trading   ")
    assert picture(book(heard_ms=1234))[1] == "update 77   12:00:00.005 UTC   epoch 3   quiet, heard 1.2 s ago"
    assert picture(book(waiting=80))[1].endswith("behind by 80 changes")
    assert picture(book(origin="binance.com"))[0].endswith("  binance.com")


@pytest.mark.parametrize(
    ("known", "depth", "told"),
    [
        ({}, 3, False),
        ({"known_bid_e8": 98 * E8, "known_ask_e8": 101 * E8}, 3, False),
        ({"known_bid_e8": 98 * E8 + 1}, 3, True),
        ({"known_bid_e8": 98 * E8 + 1}, 2, False),
        ({"known_ask_e8": 100 * E8}, 2, True),
        ({"known_ask_e8": 100 * E8}, 1, False),
    ],
)
def test_levels_outside_the_known_range_are_told(known: dict[str, int], depth: int, told: bool):
    """Bids 99.5, 99.4, 98; asks 100, 100.1."""
    assert ("outer levels may be missing" in picture(book(**known), depth=depth)[1]) is told


def test_no_digit_is_lost_where_steps_are_not_known_or_not_kept():
    lines = picture(book(tick_size=None, step_size=None), depth=1)
    assert lines[4].split()[:2] == ["100.00000000", "0.75000000"]
    odd = picture(book(asks=(level("100.12345678", "0.00000001"),)), depth=1)
    assert odd[4].split()[:2] == ["100.12345678", "0.00000001"]
    assert odd[6].split()[:2] == ["99.50000000", "12.25000000"]
    whole = picture(book(tick_size=Decimal(1), step_size=Decimal(1), bids=(level("9", "5"),), asks=(level("10", "4"),)), depth=1)
    assert (whole[4].split()[:2], whole[6].split()[:2]) == (["10", "4"], ["9", "5"])


def test_trades_keep_their_digits_when_the_book_is_lost():
    trades = TradeNews(symbol=BTC, news=News.TRADES, state="LIVE", trades=(trade(1, "99.5", "2"),))
    lines = picture(book(), trades, book(state="STALE", reason="gap", bids=(), asks=(), tick_size=None, step_size=None))
    assert lines[4].split()[-2:] == ["99.50", "2.000"]


def test_the_best_two_stand_beside_the_spread_and_an_empty_side_says_so():
    lines = picture(book(asks=()), depth=2)
    assert [line.partition(" │")[0].strip() for line in lines[4:]] == [
        *("", "", "one side is empty"),
        *("99.50        12.250", "99.40         1.000"),
    ]


@pytest.mark.parametrize(("height", "rows"), [(24, 9), (25, 10), (100, 20), (8, 1), (3, 1)])
def test_as_many_levels_are_shown_as_there_are_lines(height: int, rows: int):
    many = book(
        bids=tuple(level(f"{99 - n}", "1") for n in range(20)),
        asks=tuple(level(f"{100 + n}", "1") for n in range(20)),
    )
    out = io.StringIO()
    screen = watch.Screen(BTC, 20, Console(file=out, width=80, height=height, force_terminal=False))
    screen.book(many)
    screen.close()
    assert len(out.getvalue().splitlines()) == 3 + 2 * rows + 2


@pytest.mark.parametrize(("width", "shown"), [(75, True), (74, True), (73, False), (40, False)])
def test_trades_that_do_not_fit_are_left_out_and_no_number_is_cut(width: int, shown: bool):
    trades = TradeNews(symbol=BTC, news=News.TRADES, state="LIVE", trades=(trade(1, "99.5", "2"),))
    lines = picture(book(), trades, width=width)
    assert [("99.50         2.000" in line) for line in lines].count(True) == shown
    assert "…" not in "".join(lines[3:])
    assert lines[6].startswith("      100.00         0.750")


def test_missing_trades_and_their_absence_are_told():
    told = (Hole(5, 7, "they stay away"), Hole(9, 8, "the exchange's ids began anew"))
    news = TradeNews(symbol=BTC, news=News.TRADES, state="LIVE", trades=(trade(9, "100", "1"),), holes=told)
    gone = TradeNews(symbol=BTC, news=News.CONNECTION, state="UNKNOWN", reason="nothing heard for 5 s")
    right = [line.partition("│ ")[2] for line in picture(book(), news, gone, width=100)[4:8]]
    assert right == [
        "no trades: the service is not heard",
        "12:00:00.009  buy        100.00         1.000",
        "fills are missing: the exchange's ids began anew",
        "trades 5 to 7 are missing: they stay away",
    ]


def test_what_can_be_followed_is_what_the_service_offers():
    assert watch.DEPTHS == fanout.DEPTHS


def test_a_picture_that_stands_still_is_not_drawn_again():
    out = io.StringIO()
    screen = watch.Screen(BTC, 3, Console(file=out, width=80, height=24, force_terminal=True))
    screen.draw()
    assert out.getvalue() == ""  # nothing is known yet: the terminal is left alone
    screen.book(book())
    screen.draw()
    drawn = len(out.getvalue())
    assert drawn > 0
    screen.draw()
    assert len(out.getvalue()) == drawn
    screen.book(book(update_id=78))
    screen.draw()
    assert "update 78" in out.getvalue()[drawn:]
    screen.close()
    assert out.getvalue().endswith("\x1b[?25h\x1b[?1049l")  # the cursor is back, and the page before


# Over a service --------------------------------------------------------------------------


def live() -> House:
    house = House()
    house.go_live()
    return house


class Watching:
    """`leadline watch --json` in this process; what it wrote, line by line."""

    def __init__(self, port: int, capsys: pytest.CaptureFixture[str], **how: Any) -> None:
        self.clock, self.stop, self._capsys = FakeClock(), asyncio.Event(), capsys
        self.lines: list[dict[str, Any]] = []
        given = {"target": f"127.0.0.1:{port}", "token": "", "symbol": "btcusdt", "depth": 3, "for_s": None, "form": "json"}
        self.task = asyncio.ensure_future(watch.run(self.stop, clock=self.clock, **(given | how)))

    async def until(self, reached: Callable[[], Any]) -> None:
        def so() -> bool:
            self.lines += map(json.loads, self._capsys.readouterr().out.splitlines())
            return self.task.done() or reached()

        await until(so)

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    async def end(self) -> None:
        self.stop.set()
        await self.task


def decimals(levels: Any) -> list[list[Decimal]]:
    return [[Decimal(price) / E8, Decimal(quantity) / E8] for price, quantity in levels]


def test_lines_are_the_markets_books_and_trades_over_a_gap(capsys: pytest.CaptureFixture[str]):
    async def check() -> None:
        house = live()
        async with house.open() as door:
            seen = Watching(door.port, capsys)
            await seen.until(lambda: seen.of("book") and seen.of("trades"))
            for _ in range(20):
                house.stir()
            price = min(house.markets[BTC].asks)  # the market's trades are at the best ask
            house.trade()
            house.gap()
            house.answer()
            await seen.until(lambda: seen.of("book")[-1]["epoch"] == 2 and len(seen.of("trades")) == 2)
            await seen.end()
        states = {line["state"]: line for line in seen.of("book")}
        assert (states["STALE"]["reason"], states["STALE"]["bids"], states["STALE"]["asks"]) == ("gap", [], [])
        for line in seen.of("book"):
            if line["state"] == "LIVE":
                best = house.markets[BTC].best(3, line["update_id"])
                assert [decimals(side) for side in best] == [
                    [[Decimal(text) for text in one] for one in line[side]] for side in ("bids", "asks")
                ]
                assert (line["depth"], line["origin"], line["symbol"]) == (3, "synthetic:7", BTC)
        [told] = seen.of("trades")[-1]["trades"]
        assert (told["agg_id"], told["quantity"], told["aggressor"]) == (1, "0.00000005", "buy")
        assert Decimal(told["price"]) * E8 == price
        assert house.hub.readers == 0

    run(check())


def test_a_service_that_is_starting_is_waited_for(capsys: pytest.CaptureFixture[str]):
    async def check() -> None:
        house = live()
        desk, house.dispatcher.desk = house.dispatcher.desk, None
        async with house.open() as door:
            seen = Watching(door.port, capsys)
            for n in (1, 2):
                await seen.until(lambda n=n: len(seen.of("book")) == n)
                assert (seen.lines[-1]["state"], seen.lines[-1]["reason"]) == ("WAITING", "starting")
                if n == 2:
                    house.dispatcher.desk = desk
                await seen.clock.advance(watch.START_S)
            await seen.until(lambda: len(seen.of("book")) == 3 and seen.of("trades"))
            assert seen.of("book")[-1]["state"] == "LIVE"
            await seen.end()

    run(check())


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ({"symbol": "BTCUSD"}, UnknownSymbol, "near matches: BTCUSDT"),
        ({"target": "127.0.0.1:1"}, Unreachable, "; is `leadline serve` running?"),
        ({"symbol": "ETHUSDT"}, BookNotLive, "no live book of ETHUSDT: not followed"),
    ],
)
def test_what_cannot_be_watched_is_raised_as_itself(how: dict[str, Any], kind: type[Exception], said: str, capsys: Any):
    async def check() -> None:
        house = live()
        house.history.write([samples.row(samples.T0, "ETHUSDT")])  # stored once, and followed no more
        async with house.open() as door:
            seen = Watching(door.port, capsys, **how)
            await asyncio.wait([seen.task])
            error = seen.task.exception()
            assert type(error).__name__ == kind.__name__ and said in str(error)
            assert capsys.readouterr().out == ""

    run(check())


def test_it_ends_by_itself_when_its_time_is_over(capsys: pytest.CaptureFixture[str]):
    async def check() -> None:
        async with live().open() as door:
            await Watching(door.port, capsys, for_s=0).task

    run(check())


@pytest.mark.parametrize("url", ["", "50053", "http://127.0.0.1:3001", "localhost", "a b:1"])
def test_an_address_that_is_none_is_refused(url: str):
    with pytest.raises(InvalidRequest) as refused:
        watch.target_of(url, "127.0.0.1:50053")
    assert refused.value.field == "--url"
    with pytest.raises(InvalidRequest, match=r"grpc.bind"):
        watch.target_of(None, "")
    assert (watch.target_of(None, "h:1"), watch.target_of("[::1]:5", "h:1")) == ("h:1", "[::1]:5")


# As a child ------------------------------------------------------------------------------


def command(port: int, *more: str) -> list[str]:
    return [sys.executable, "-m", "leadline", "watch", BTC, "--url", f"127.0.0.1:{port}", *more]


def test_on_a_terminal_ctrl_c_ends_it_and_gives_the_page_back():
    with neighbour(live()) as beside:
        ours, theirs = pty.openpty()
        os.set_blocking(ours, True)
        environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        child = subprocess.Popen(
            command(beside.port), stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True
        )
        os.close(theirs)
        screen = ""
        while "spread" not in screen:
            screen += os.read(ours, 65536).decode()
        child.send_signal(signal.SIGINT)
        try:
            while more := os.read(ours, 65536).decode():
                screen += more
        except OSError:  # the child has closed its end
            pass
        assert child.wait(30) == 0
        os.close(ours)
        assert screen.startswith("\x1b[?1049h") and screen.endswith("\x1b[?25h\x1b[?1049l")
        assert BTC in screen and "LIVE" in screen and "Traceback" not in screen


@pytest.mark.parametrize("ends", ["SIGTERM", "SIGINT", "closed"])
def test_in_a_pipe_it_writes_lines_and_ends_quietly(ends: str):
    with neighbour(live()) as beside:
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        pipe = subprocess.PIPE
        with subprocess.Popen(command(beside.port), stdout=pipe, stderr=pipe, text=True, env=buffered) as child:
            assert child.stdout is not None and child.stderr is not None
            told = [json.loads(child.stdout.readline()) for _ in range(2)]
            assert {line["event"] for line in told} == {"book", "trades"}
            if ends == "closed":
                child.stdout.close()
                while child.poll() is None:
                    beside.do(lambda: beside.house.move(changes=30))
            else:
                child.send_signal(signal.Signals[ends])
            assert (child.wait(30), child.stderr.read()) == (0, "")


def test_errors_are_a_line_and_an_exit_code():
    with neighbour(live()) as beside:
        words = command(beside.port)
        words[4] = "BTCUSD"
        answer = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (answer.returncode, answer.stdout) == (3, "")
    assert answer.stderr == "leadline: symbol: 'BTCUSD' is not known here; near matches: BTCUSDT\n"
    gone = subprocess.run(command(1), capture_output=True, text=True, timeout=60)
    assert (gone.returncode, gone.stdout, gone.stderr.count("\n")) == (5, "", 1)
    assert gone.stderr.endswith("; is `leadline serve` running?\n")
