"""Recordings as a source of records: both formats, several files, aggregated trades, and every way a file can be broken.

What a recording says is read here a second time, with json and Decimal only.
"""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.captures import captures

from leadline.core.errors import CaptureError
from leadline.core.records import BestQuote, DepthSnapshot, DepthUpdate, Disconnected, Trade
from leadline.exchange.replay import Recording, inferred_rules

T_NS = 1_723_161_240_000_000_000
T_MS = T_NS // 1_000_000
URL = "wss://stream.binance.com:9443/stream?streams="

# Lines, by hand -----------------------------------------------------------------------


def depth(symbol: str, first: int, last: int, **extra: Any) -> dict[str, Any]:
    data = {"e": "depthUpdate", "E": T_MS, "s": symbol, "U": first, "u": last, "b": [["1.5", "2"]], "a": [], **extra}
    return {"stream": f"{symbol.lower()}@depth@100ms", "data": data}


def fill(
    symbol: str, trade_id: int, price: str = "10", *, at_ms: int = T_MS, sells: bool = False, qty: str = "1"
) -> dict[str, Any]:
    data = {"e": "trade", "E": at_ms, "s": symbol, "t": trade_id, "p": price, "q": qty, "T": at_ms, "m": sells, "M": True}
    return {"stream": f"{symbol.lower()}@trade", "data": data}


def agg(symbol: str, agg_id: int) -> dict[str, Any]:
    data = {
        "e": "aggTrade",
        "E": T_MS,
        "s": symbol,
        "a": agg_id,
        "p": "10",
        "q": "1",
        "f": agg_id,
        "l": agg_id,
        "T": T_MS,
        "m": True,
    }
    return {"stream": f"{symbol.lower()}@aggTrade", "data": data}


def quote(symbol: str, update_id: int) -> dict[str, Any]:
    return {
        "stream": f"{symbol.lower()}@bookTicker",
        "data": {"u": update_id, "s": symbol, "b": "1", "B": "1", "a": "2", "A": "1"},
    }


def snapshot(update_id: int) -> dict[str, Any]:
    return {"lastUpdateId": update_id, "bids": [["1.5", "2"]], "asks": [["1.6", "3"]]}


def hft(*bodies: dict[str, Any], start: int = 0) -> str:
    """One line a nanosecond."""
    return "".join(f"{T_NS + start + n} {json.dumps(body, separators=(',', ':'))}\n" for n, body in enumerate(bodies))


def cf(second: float, body: dict[str, Any], url: str = "") -> str:
    where = f"{url} -> " if url else ""
    return f"{where}{T_NS // 10**9 + second:.6f}: {json.dumps(body)}\n"


def opened(second: float, *streams: str) -> str:
    return f"{URL}{'/'.join(streams)} <-> {T_NS // 10**9 + second:.6f}\n"


def file(folder: Path, text: str | bytes, name: str = "rec.gz") -> Path:
    path = folder / name
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def read(*paths: Path) -> tuple[list[Any], Recording]:
    recording = Recording(paths)
    return list(recording.events()), recording


def short(event: Any) -> tuple[Any, ...]:
    match event:
        case DepthUpdate():
            return "depth", event.symbol, event.last_id
        case BestQuote():
            return "quote", event.symbol, event.update_id
        case Trade():
            return "trade", event.symbol, event.agg_id, event.first_id, event.last_id
        case DepthSnapshot():
            return "snapshot", event.symbol, event.update_id
        case Disconnected():
            return "disconnected", *event.symbols
    raise AssertionError(event)


# Formats ------------------------------------------------------------------------------


def test_the_first_format_gives_its_records_with_their_receive_stamps(tmp_path: Path):
    events, recording = read(file(tmp_path, hft(depth("BTCUSDT", 1, 4), snapshot(2), quote("BTCUSDT", 5), agg("BTCUSDT", 9))))
    assert [short(event) for event in events] == [
        ("depth", "BTCUSDT", 4),
        ("snapshot", "BTCUSDT", 2),
        ("quote", "BTCUSDT", 5),
        ("trade", "BTCUSDT", 9, 9, 9),
    ]
    assert [event.ts_recv_ns - T_NS for event in events if not isinstance(event, DepthSnapshot)] == [0, 2, 3]
    assert events[1].limit == 1000
    assert (recording.errors, recording.malformed) == ([], 0)


def test_the_second_format_gives_its_records_with_the_symbol_of_each_question(tmp_path: Path):
    text = (
        "configuration: {'BINANCE': 1}\n"
        + opened(0, "ethusdt@depth@100ms", "btcusdt@depth@100ms")
        + cf(1, depth("ETHUSDT", 1, 4))
        + cf(2, snapshot(2), "https://api.binance.com/api/v3/depth?symbol=ETHUSDT&limit=100")
        + cf(2.5, {"serverTime": 1}, "https://api.binance.com/api/v3/time")
        + "\n"
        + cf(3, {"stream": "btcusdt@kline_1m", "data": {"e": "kline"}})
    )
    events, recording = read(file(tmp_path, text))
    assert [short(event) for event in events] == [("depth", "ETHUSDT", 4), ("snapshot", "ETHUSDT", 2)]
    assert (events[0].ts_recv_ns, events[1].limit) == (T_NS + 10**9, 100)
    assert (recording.errors, recording.malformed) == ([], 0)


def test_plain_text_reads_as_the_same_recording_as_gzip(tmp_path: Path):
    text = hft(*(depth("BTCUSDT", n, n) for n in range(50)))
    plain, packed = read(file(tmp_path, text, "a.txt")), read(file(tmp_path, text, "b.gz"))
    assert plain[0] == packed[0] and len(plain[0]) == 50
    packed_under_a_plain_name = file(tmp_path, gzip.compress(text.encode()), "c.txt")
    assert read(packed_under_a_plain_name)[0] == plain[0]


def test_a_last_line_without_its_newline_counts(tmp_path: Path):
    events, recording = read(file(tmp_path, hft(depth("BTCUSDT", 1, 1), depth("BTCUSDT", 2, 2)).rstrip("\n"), "rec"))
    assert ([event.last_id for event in events], recording.errors) == ([1, 2], [])


def test_a_new_connection_is_a_disconnect_of_the_symbols_it_carried_before(tmp_path: Path):
    text = (
        opened(0, "btcusdt@depth", "ethusdt@depth")
        + cf(1, depth("BTCUSDT", 1, 1))
        + opened(2, "btcusdt@depth", "ethusdt@depth")  # of ETHUSDT nothing was heard, so nothing is over
        + opened(3, "xrpusdt@depth")
        + cf(4, depth("ETHUSDT", 1, 1))
        + opened(5, "ethusdt%40depth", "btcusdt@depth")
    )
    events, _ = read(file(tmp_path, text))
    assert [short(event) for event in events] == [
        ("depth", "BTCUSDT", 1),
        ("disconnected", "BTCUSDT"),
        ("depth", "ETHUSDT", 1),
        ("disconnected", "BTCUSDT", "ETHUSDT"),
    ]
    assert (events[1].reason, events[1].ts_recv_ns) == ("reconnected", T_NS + 2 * 10**9)


def test_a_snapshot_without_a_symbol_goes_to_the_symbol_whose_ids_are_nearest(tmp_path: Path):
    text = hft(depth("BTCUSDT", 5000, 5010), depth("ETHUSDT", 300, 310), snapshot(4990), snapshot(312))
    events, _ = read(file(tmp_path, text))
    assert [short(event) for event in events[2:]] == [("snapshot", "BTCUSDT", 4990), ("snapshot", "ETHUSDT", 312)]


def test_a_snapshot_without_a_symbol_never_leaves_its_file(tmp_path: Path):
    btc = file(tmp_path, hft(depth("BTCUSDT", 5000, 5010), depth("BTCUSDT", 5011, 5011)), "btc.gz")
    eth = file(tmp_path, hft(depth("ETHUSDT", 300, 310), snapshot(5000)), "eth.gz")
    events, _ = read(btc, eth)
    assert [short(event) for event in events if isinstance(event, DepthSnapshot)] == [("snapshot", "ETHUSDT", 5000)]


def test_a_snapshot_before_any_stream_is_passed_over_and_counted(tmp_path: Path):
    events, recording = read(file(tmp_path, hft(snapshot(1), depth("BTCUSDT", 1, 1))))
    assert ([short(event) for event in events], recording.malformed) == ([("depth", "BTCUSDT", 1)], 1)


@pytest.mark.parametrize(
    "line",
    [
        hft(depth("BTCUSDT", 2, 1)),
        hft(depth("BTCUSDT", 1, 2, b=[["x", "1"]])),
        cf(0, {"code": -1121, "msg": "Invalid symbol."}, "https://api.binance.com/api/v3/depth?symbol=NOPE"),
        cf(0, snapshot(1), "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=many"),
    ],
)
def test_a_message_that_is_wrong_is_passed_over_and_counted(tmp_path: Path, line: str):
    events, recording = read(file(tmp_path, hft(depth("BTCUSDT", 1, 1)) + line + hft(depth("BTCUSDT", 2, 2), start=9)))
    assert ([event.last_id for event in events], recording.malformed, recording.errors) == ([1, 2], 1, [])


# Several files --------------------------------------------------------------------------


def test_files_are_merged_by_receive_time_whatever_their_order(tmp_path: Path):
    one = file(tmp_path, hft(*(depth("BTCUSDT", n, n) for n in (1, 4)), start=0), "one.gz")
    two = file(tmp_path, hft(depth("ETHUSDT", 2, 2), depth("ETHUSDT", 3, 3), start=1), "two.gz")
    for paths in ((one, two), (two, one)):
        events, recording = read(*paths)
        stamps = [event.ts_recv_ns for event in events]
        assert stamps == sorted(stamps) and len(events) == 4
        assert recording.origin == "replay:one+two"


def test_a_stamp_that_falls_keeps_its_place_in_its_file(tmp_path: Path):
    """Stamps 0, 50, 10, 60 in one file; 20, 55 in the other. The third line comes behind the second all the same."""
    odd = "".join(hft(depth("BTCUSDT", n, n), start=at) for n, at in ((1, 0), (2, 50), (3, 10), (4, 60)))
    even = "".join(hft(depth("ETHUSDT", n, n), start=at) for n, at in ((1, 20), (2, 55)))
    events, _ = read(file(tmp_path, odd, "odd.gz"), file(tmp_path, even, "even.gz"))
    assert [(event.symbol[:3], event.last_id) for event in events] == [
        ("BTC", 1), ("ETH", 1), ("BTC", 2), ("BTC", 3), ("ETH", 2), ("BTC", 4),
    ]  # fmt: skip


def test_the_parts_of_one_recording_have_one_name():
    folder = captures() / "multi"
    parts = [folder / f"binance_20211012_4pairs.{part}.gz" for part in ("ws", "http")]
    assert Recording(parts).origin == Recording(parts[::-1]).origin == "replay:binance_20211012_4pairs"
    assert Recording([folder / "binance_20210404_btc_eth_dot.raw.gz"]).origin == "replay:binance_20210404_btc_eth_dot"


@pytest.mark.parametrize("name", ["binance_20211012_4pairs", "binanceus_20211012_4pairs"])
def test_frames_and_answers_of_two_files_are_one_recording(name: str):
    folder = captures() / "multi"
    events, recording = read(folder / f"{name}.ws.gz", folder / f"{name}.http.gz")
    frames: dict[str, int] = {}
    answers = {}
    with gzip.open(folder / f"{name}.ws.gz", "rt") as lines:
        for line in lines:
            if "@depth@100ms" in line[:80] and not line.startswith("wss"):
                body = json.loads(line.split(" ", 1)[1])
                frames[body["data"]["s"]] = frames.get(body["data"]["s"], 0) + 1
    with gzip.open(folder / f"{name}.http.gz", "rt") as lines:
        for line in lines:
            if "/depth?symbol=" in line:
                answers[line.split("symbol=")[1].split("&")[0]] = json.loads(line.split(": ", 1)[1])["lastUpdateId"]
    assert {event.symbol: event.update_id for event in events if isinstance(event, DepthSnapshot)} == answers
    assert len(answers) == 4
    counted: dict[str, int] = {}
    for event in events:
        if isinstance(event, DepthUpdate):
            counted[event.symbol] = counted.get(event.symbol, 0) + 1
    assert counted == frames
    assert (recording.errors, recording.malformed) == ([], 0)
    first = next(n for n, event in enumerate(events) if isinstance(event, DepthSnapshot))
    assert 0 < first < len(events) / 2  # between the frames, by its time


# Trades put together ----------------------------------------------------------------------


def test_fills_of_one_order_at_one_price_are_one_trade_where_its_last_fill_stood(tmp_path: Path):
    bodies = [
        fill("BTCUSDT", 1, qty="1"),
        quote("BTCUSDT", 5),
        fill("BTCUSDT", 2, qty="2"),
        quote("BTCUSDT", 6),
        fill("BTCUSDT", 3, price="11"),  # another price
        fill("BTCUSDT", 4, price="11", sells=True),  # another side
        fill("BTCUSDT", 5, price="11", sells=True, at_ms=T_MS + 1),  # another moment
        fill("BTCUSDT", 7, price="11", sells=True, at_ms=T_MS + 1),  # an id is missing
    ]
    events, _ = read(file(tmp_path, hft(*bodies)))
    assert [short(event) for event in events] == [
        ("quote", "BTCUSDT", 5),
        ("trade", "BTCUSDT", 1, 1, 2),
        ("quote", "BTCUSDT", 6),
        ("trade", "BTCUSDT", 2, 3, 3),
        ("trade", "BTCUSDT", 3, 4, 4),
        ("trade", "BTCUSDT", 4, 5, 5),
        ("trade", "BTCUSDT", 5, 7, 7),
    ]
    assert events[1].quantity_e8 == 3 * 10**8
    assert events[1].ts_recv_ns == T_NS + 2


def test_fills_of_two_symbols_do_not_part_one_another(tmp_path: Path):
    bodies = [fill("BTCUSDT", 1), fill("ETHUSDT", 8), fill("BTCUSDT", 2), fill("ETHUSDT", 9)]
    events, _ = read(file(tmp_path, hft(*bodies)))
    assert [short(event) for event in events] == [("trade", "BTCUSDT", 1, 1, 2), ("trade", "ETHUSDT", 1, 8, 9)]


def test_a_symbol_that_carries_aggregate_trades_is_not_aggregated_again(tmp_path: Path):
    bodies = [fill("BTCUSDT", 1), agg("BTCUSDT", 77), fill("ETHUSDT", 5)]
    events, _ = read(file(tmp_path, hft(*bodies)))
    assert [short(event) for event in events] == [("trade", "BTCUSDT", 77, 77, 77), ("trade", "ETHUSDT", 1, 5, 5)]


@pytest.mark.parametrize("name", ["btcusdt_20240808", "ethusdt_20240808"])
def test_a_recording_of_fills_gives_each_aggregate_and_everything_else_in_its_place(name: str):
    path = captures() / "spot" / f"{name}.gz"
    expected: list[tuple[Any, ...]] = []
    group: dict[str, Any] = {}
    count = place = 0  # place: of the newest fill of the open group
    with gzip.open(path, "rt") as lines:
        for line in lines:
            stamp, body = line.split(" ", 1)
            message = json.loads(body)
            stream = message.get("stream", "")
            data = message.get("data", {})
            if stream.endswith("@trade"):
                last = (data["t"] - 1, data["T"], data["p"], data["m"])
                if group and last == (group["l"], group["T"], group["p"], group["m"]):
                    expected[place] = ()
                    group |= {"l": data["t"], "q": group["q"] + Decimal(data["q"]), "E": data["E"], "recv": int(stamp)}
                else:
                    if group:
                        expected[place] = ("trade", *group.values())
                    count += 1
                    group = {"a": count, "p": data["p"], "q": Decimal(data["q"]), "f": data["t"], "l": data["t"]}
                    group |= {"T": data["T"], "m": data["m"], "E": data["E"], "recv": int(stamp)}
                place = len(expected)
                expected.append(("open",))
            elif "lastUpdateId" in message:
                expected.append(("snapshot", message["lastUpdateId"]))
            else:
                expected.append((stream.split("@")[1], data["u"], int(stamp)))
    expected[place] = ("trade", *group.values())

    found: list[tuple[Any, ...]] = []
    events, recording = read(path)
    for event in events:
        match event:
            case Trade():
                price, quantity = Decimal(event.price_e8).scaleb(-8), Decimal(event.quantity_e8).scaleb(-8)
                trade_ms, event_ms = event.ts_trade_ns // 10**6, event.ts_event_ns // 10**6
                numbers = (event.agg_id, f"{price:.8f}", quantity, event.first_id, event.last_id)
                found.append(("trade", *numbers, trade_ms, event.buyer_is_maker, event_ms, event.ts_recv_ns))
            case DepthUpdate():
                found.append(("depth", event.last_id, event.ts_recv_ns))
            case BestQuote():
                found.append(("bookTicker", event.update_id, event.ts_recv_ns))
            case DepthSnapshot():
                found.append(("snapshot", event.update_id))
    assert found == [event for event in expected if event]
    assert (recording.errors, recording.malformed, recording.bytes_read) == ([], 0, recording.bytes_total)


def test_two_recordings_together_say_what_each_says_alone():
    paths = [captures() / "spot" / f"{name}_20240808.gz" for name in ("btcusdt", "ethusdt")]
    together, _ = read(*paths)
    for path in paths:
        alone, _ = read(path)
        assert [event for event in together if event.symbol == alone[0].symbol] == alone


# Broken files ----------------------------------------------------------------------------


def updates(count: int) -> str:
    return hft(*(depth("BTCUSDT", n, n) for n in range(1, count + 1)))


def test_a_gzip_cut_short_gives_what_came_before_and_one_error(tmp_path: Path):
    whole = gzip.compress(updates(5000).encode())
    path = tmp_path / "cut.gz"
    path.write_bytes(whole[: len(whole) * 6 // 10])
    events, recording = read(path)
    ids = [event.last_id for event in events]
    assert ids == list(range(1, len(ids) + 1)) and len(ids) > 2000
    (error,) = recording.errors
    assert (error.path, error.line, error.exit_code) == (str(path), len(ids) + 1, 2)
    assert str(error).startswith(f"FILE: {path}, line {len(ids) + 1}: the file ends in the middle")


@pytest.mark.parametrize("cut", [1, 2, 3, 30])
def test_a_last_line_cut_short_is_one_error_that_names_it(tmp_path: Path, cut: int):
    """The newline and `cut` more: of `}}` one brace, both, and into the message."""
    path = file(tmp_path, updates(3).encode()[: -1 - cut], "rec.txt")
    events, recording = read(path)
    assert [event.last_id for event in events] == [1, 2]
    assert [(e.path, e.line, e.why) for e in recording.errors] == [(str(path), 3, "the file ends in the middle of a line")]


def test_a_line_of_garbage_is_one_error_that_names_it_and_the_rest_counts(tmp_path: Path):
    lines = updates(3).splitlines(keepends=True)
    path = file(tmp_path, "".join([lines[0], lines[1], "no such line\n", lines[2]]))
    events, recording = read(path)
    assert [event.last_id for event in events] == [1, 2, 3]
    (error,) = recording.errors
    assert (error.path, error.line) == (str(path), 3) and "no such line" in error.why


def test_a_damaged_file_among_several_costs_the_others_nothing(tmp_path: Path):
    good = file(tmp_path, updates(10), "good.gz")
    bad = file(tmp_path, hft(depth("ETHUSDT", 1, 1)) + "garbage\n", "bad.gz")
    events, recording = read(good, bad)
    assert len(events) == 11 and [error.path for error in recording.errors] == [str(bad)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a,b,c\n1,2,3\n", "not a capture: neither"),
        (b'{"lastUpdateId":1}\n', "not a capture: neither"),
        (b"", "not a capture: no message in it"),
        (b"\n\n", "not a capture: no message in it"),
        (b"\x1f\x8b\x08\x00 no gzip", "not a capture: damaged gzip"),
        (gzip.compress(b""), "not a capture: no message in it"),
        (gzip.compress(updates(1).encode())[:12], "not a capture: damaged gzip"),
        (bytes(range(256)), "not a capture: neither"),
    ],
)
def test_what_is_no_capture_is_refused_at_once(tmp_path: Path, content: bytes, why: str):
    path = tmp_path / "rec"
    path.write_bytes(content)
    with pytest.raises(CaptureError) as caught:
        Recording([path])
    assert (caught.value.path, caught.value.line) == (str(path), 1)
    assert caught.value.why.startswith(why)


@pytest.mark.parametrize(("name", "why"), [("missing.gz", "No such file or directory"), (".", "Is a directory")])
def test_what_is_no_file_is_refused_with_its_name(tmp_path: Path, name: str, why: str):
    with pytest.raises(CaptureError) as caught:
        Recording([tmp_path / name])
    assert (caught.value.path, caught.value.why) == (str(tmp_path / name), why)


# Rules from a snapshot ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bids", "asks", "tick_e8", "step_e8"),
    [
        (((6_183_764_000_000, 378_826_000),), ((6_183_765_000_000, 100_000),), 1_000_000, 1_000),  # 61837.64, 3.78826; 0.001
        (((100_000_000, 500_000_000),), (), 100_000_000, 100_000_000),  # 1, 5
        (((35_210_000, 67_200_000_000),), ((35_200_001, 100_000_000),), 1, 100_000_000),  # a price off the grid is seen
    ],
)
def test_rules_are_inferred_from_all_levels(bids: Any, asks: Any, tick_e8: int, step_e8: int):
    rules = inferred_rules(DepthSnapshot("X", 1, bids, asks, 1000), 7)
    assert (rules.symbol, rules.tick_e8, rules.step_e8, rules.since_s, rules.inferred) == ("X", tick_e8, step_e8, 7, True)


def test_a_fill_that_stands_in_two_overlapping_files_counts_once(tmp_path: Path):
    files = [captures() / "spot" / "btcusdt_20240808.gz"]
    lines = gzip.decompress(files[0].read_bytes()).splitlines(keepends=True)[:6000]
    one, other = file(tmp_path, b"".join(lines[:4000]), "one.gz"), file(tmp_path, b"".join(lines[2000:]), "other.gz")
    whole = file(tmp_path, b"".join(lines), "whole.gz")
    trades = [[event for event in read(*paths)[0] if isinstance(event, Trade)] for paths in ((one, other), (whole,))]
    assert trades[0] == trades[1] != []
