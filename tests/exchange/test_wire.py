import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.exchange import captures

from leadline.core import units
from leadline.core.capture import Answer, Frame
from leadline.core.errors import Malformed
from leadline.core.records import BestQuote, DepthUpdate, Trade
from leadline.exchange.binance import wire

DEPTH = (
    b'{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":50093239189,'
    b'"u":50093239202,"b":[["61737.63000000","0.00000000"]],"a":[["61837.64000000","1.54698000"]]}}'
)
QUOTE = (
    b'{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000",'
    b'"a":"61837.64000000","A":"1.54698000"}}'
)
AGG_TRADE = (
    b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1617566591315,"s":"BTCUSDT","a":665076760,"p":"58001.03000000",'
    b'"q":"0.08620500","f":745522877,"l":745522879,"T":1617566591314,"m":true,"M":true}}'
)
TRADE = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000",'
    b'"q":"0.02000000","T":1723161255342,"m":false,"M":true}}'
)
KLINE = b'{"stream":"btcusdt@kline_1m","data":{"e":"kline","E":1,"s":"BTCUSDT","k":{"t":1,"o":"1.0"}}}'
SHUTDOWN = b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}'

DEPTH_RECORD = DepthUpdate(
    "BTCUSDT",
    50093239189,
    50093239202,
    1723161255208_000_000,
    7,
    ((6173763000000, 0),),
    ((6183764000000, 154698000),),
)
QUOTE_RECORD = BestQuote("BTCUSDT", 50093239212, 6183763000000, 378826000, 6183764000000, 154698000, 7)
AGG_TRADE_RECORD = Trade(
    "BTCUSDT",
    665076760,
    5800103000000,
    8620500,
    745522877,
    745522879,
    1617566591314_000_000,
    True,
    1617566591315_000_000,
    7,
)
TRADE_RECORD = wire.RawTrade(
    "BTCUSDT", 3735683259, 6183763000000, 2000000, 1723161255342_000_000, False, 1723161255343_000_000, 7
)
EXAMPLES = [(DEPTH, DEPTH_RECORD), (QUOTE, QUOTE_RECORD), (AGG_TRADE, AGG_TRADE_RECORD), (TRADE, TRADE_RECORD)]


def decode(frame: bytes | str | dict[str, Any]) -> Any:
    return wire.FrameDecoder().decode(json.dumps(frame) if isinstance(frame, dict) else frame, 7)


def changed(frame: bytes, **fields: Any) -> dict[str, Any]:
    whole = json.loads(frame)
    whole["data"].update(fields)
    return whole


def refused_field(frame: bytes | str | dict[str, Any]) -> str:
    with pytest.raises(Malformed) as caught:
        decode(frame)
    return caught.value.field


# Frames -----------------------------------------------------------------------------


@pytest.mark.parametrize(("frame", "record"), EXAMPLES)
def test_each_kind_of_frame_becomes_its_record_as_bytes_as_text_bare_and_in_any_order_of_keys(frame: bytes, record: Any) -> None:
    whole = json.loads(frame)
    decoder = wire.FrameDecoder()
    assert decoder.decode(frame, 7) == record
    assert decoder.decode(frame, 7) == record, "the second frame of a stream takes the quick door"
    assert decoder.decode(frame.decode(), 7) == record
    assert decode({"data": whole["data"], "stream": whole["stream"]}) == record
    assert decode(whole["data"]) == record
    assert decode(changed(frame, somethingNew={"deep": [1]})) == record
    assert decode(json.dumps(whole, indent=1)) == record


@pytest.mark.parametrize("frame", [DEPTH, QUOTE, AGG_TRADE, TRADE, KLINE, SHUTDOWN])
def test_every_truncation_of_a_frame_is_refused(frame: bytes) -> None:
    fresh, warm = wire.FrameDecoder(), wire.FrameDecoder()
    warm.decode(frame, 0)
    for length in range(len(frame)):
        for decoder in (fresh, warm):
            with pytest.raises(Malformed):
                decoder.decode(frame[:length], 0)


@pytest.mark.parametrize(("frame", "record"), EXAMPLES)
def test_every_missing_or_wrongly_typed_field_is_refused_by_its_name(frame: bytes, record: Any) -> None:
    data = json.loads(frame)["data"]
    for name in data.keys() - {"e", "M"}:
        without = changed(frame)
        del without["data"][name]
        assert refused_field(without) == name
        for wrong in (None, {}, [1], True if name != "m" else "true"):
            assert refused_field(changed(frame, **{name: wrong})) == name
    for name in data.keys() & {"E", "T", "U", "u", "a", "f", "l", "t"}:
        if isinstance(data[name], int):
            for wrong in (-1, 2**63, 1.5, "7"):
                assert refused_field(changed(frame, **{name: wrong})) == name


@pytest.mark.parametrize(
    ("frame", "field", "value"),
    [
        (DEPTH, "u", 50093239188),  # below U
        (AGG_TRADE, "l", 745522876),  # below f
        (DEPTH, "s", "ETHUSDT"),
        (DEPTH, "E", 1723161255208_000_000),  # ns: no unit of the protocol
        (DEPTH, "b", [["1", "2", "3"]]),
        (DEPTH, "b", [["1"]]),
        (DEPTH, "a", [[1, 2]]),
        (DEPTH, "a", [["1.000000001", "1"]]),
        (DEPTH, "a", [["-1.00000000", "1.00000000"]]),
        (QUOTE, "B", "1e3"),
        (QUOTE, "A", "1_000.00000000"),
        (QUOTE, "b", ".00000000"),
        (TRADE, "p", "92233720368.54775808"),  # 2^63
        (TRADE, "q", "١١.00000000"),
    ],
)
def test_what_is_no_exact_number_no_order_of_ids_or_not_of_this_stream_is_refused(frame: bytes, field: str, value: Any) -> None:
    assert refused_field(changed(frame, **{field: value})) == field


@pytest.mark.parametrize(
    "frame", [b"", b"{", b"null", b"[]", b"7", b'"x"', b"\xff\xfe", b'{"stream":"\xff@trade","data":{}}', "\ud800"]
)
def test_what_is_no_json_object_is_refused(frame: bytes | str) -> None:
    assert refused_field(frame) in {"json", "frame", "stream"}


def test_a_frame_nested_a_million_deep_is_refused() -> None:
    assert refused_field(b'{"stream":"btcusdt@kline_1m","data":' + b"[" * 1_000_000)


def test_microseconds_are_told_by_their_size() -> None:
    assert decode(changed(DEPTH, E=1723161255208123)).ts_event_ns == 1723161255208123_000


def test_a_partial_depth_is_never_taken_for_a_diff_and_the_stream_name_decides() -> None:
    decoder = wire.FrameDecoder()
    partial = b'{"stream":"btcusdt@depth20@100ms","data":{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[]}}'
    bare = b'{"lastUpdateId":160,"bids":[["0.0024","10"]],"asks":[]}'
    looks_like_a_diff = DEPTH.replace(b"@depth@100ms", b"@depth20@100ms")
    assert [decoder.decode(frame, 0) for frame in (partial, looks_like_a_diff, bare)] == [None, None, None]
    assert decoder.unused == {"depth20@100ms": 2, "depth": 1}
    assert isinstance(decoder.decode(DEPTH, 0), DepthUpdate)


def test_known_but_unused_and_unknown_messages_are_counted_apart() -> None:
    decoder = wire.FrameDecoder()
    for frame in (KLINE, b'{"e":"avgPrice","E":1}', b'{"stream":"btcusdt@depth@0ms","data":{}}', b'{"e":"newThing"}', b"{}"):
        assert decoder.decode(frame, 0) is None
    assert decoder.unused == {"kline_1m": 1, "avgPrice": 1}
    assert decoder.unknown == {"depth@0ms": 1, "newThing": 1, "": 1}


@pytest.mark.parametrize("stream", ["depth@100ms", "bookTicker", "aggTrade"])
def test_an_event_of_an_unknown_name_on_one_of_our_streams_is_counted_and_the_next_one_read(stream: str) -> None:
    """If it came in the place of one of ours, the ids tell: no connection has to end for it."""
    decoder = wire.FrameDecoder()
    frame = b'{"stream":"btcusdt@%b","data":{"e":"somethingNew","E":1,"s":"BTCUSDT","x":[1,null]}}' % stream.encode()
    assert [decoder.decode(frame, 0) for _ in range(2)] == [None, None]
    assert decoder.unknown == {"somethingNew": 2}
    assert isinstance(decoder.decode(DEPTH, 0), DepthUpdate)


@pytest.mark.parametrize("named", [b'"e":"depthUpdate",', b'"e":"aggTrade",', b'"e":7,', b""])
def test_an_event_that_lacks_a_field_is_refused_whatever_else_of_ours_it_calls_itself(named: bytes) -> None:
    with pytest.raises(Malformed):
        wire.FrameDecoder().decode(b'{"stream":"btcusdt@depth@100ms","data":{%b"E":1,"s":"BTCUSDT"}}' % named, 0)


def test_unknown_names_do_not_grow_without_bound() -> None:
    decoder = wire.FrameDecoder()
    for number in range(1000):
        decoder.decode(b'{"e":"new%d"}' % number, 0)
    assert len(decoder.unknown) <= 257
    assert decoder.unknown.total() == 1000


def test_a_symbol_outside_ascii_goes_through_plain_and_escaped() -> None:
    frame = {"stream": "币安人生usdt@trade", "data": {**json.loads(TRADE)["data"], "s": "币安人生USDT"}}
    assert decode(json.dumps(frame, ensure_ascii=True)).symbol == "币安人生USDT"
    assert decode(json.dumps(frame, ensure_ascii=False, separators=(",", ":"))).symbol == "币安人生USDT"


@pytest.mark.parametrize(
    ("frame", "control"),
    [
        ('{"result":null,"id":1}', wire.Control(1, None, None, "", 7)),
        ('{"result":["btcusdt@trade"],"id":3}', wire.Control(3, ["btcusdt@trade"], None, "", 7)),
        ('{"code":2,"msg":"Invalid request","id":4}', wire.Control(4, None, 2, "Invalid request", 7)),
        ('{"code":3,"msg":"Invalid JSON"}', wire.Control(None, None, 3, "Invalid JSON", 7)),
        ('{"error":{"code":2,"msg":"invalid stream"},"id":2}', wire.Control(2, None, 2, "invalid stream", 7)),
        ('{"error":null,"result":true,"id":"x1"}', wire.Control("x1", True, None, "", 7)),
    ],
)
def test_answers_to_us_are_read_bare_and_wrapped(frame: str, control: wire.Control) -> None:
    assert decode(frame) == control


@pytest.mark.parametrize(
    "frame",
    [
        SHUTDOWN,
        b'{"e":"serverShutdown","E":1770123456789}',
        b'{"event":{"e":"serverShutdown","E":1770123456789}}',
        b'{"data":{"E":1770123456789,"e":"serverShutdown"},"stream":"!serverShutdown"}',
    ],
)
def test_each_shape_of_server_shutdown_is_known(frame: bytes) -> None:
    assert decode(frame) == wire.ServerShutdown(1770123456789_000_000, 7)


# Recordings, against another decoder -----------------------------------------------------


def e8(text: str) -> int:
    scaled = Decimal(text).scaleb(8)
    assert scaled == int(scaled)
    return int(scaled)


def side(pairs: list[list[str]]) -> tuple[tuple[int, int], ...]:
    return tuple((e8(price), e8(quantity)) for price, quantity in pairs)


def model(frame: bytes, recv: int) -> Any:
    whole = json.loads(frame)
    name, d = whole["stream"], whole["data"]
    match name.split("@")[1:]:
        case ["depth", "100ms"]:
            return DepthUpdate(d["s"], d["U"], d["u"], d["E"] * 10**6, recv, side(d["b"]), side(d["a"]))
        case ["bookTicker"]:
            return BestQuote(d["s"], d["u"], e8(d["b"]), e8(d["B"]), e8(d["a"]), e8(d["A"]), recv)
        case ["aggTrade"]:
            ids = (d["f"], d["l"], d["T"] * 10**6)
            return Trade(d["s"], d["a"], e8(d["p"]), e8(d["q"]), *ids, d["m"], d["E"] * 10**6, recv)
        case ["trade"]:
            return wire.RawTrade(d["s"], d["t"], e8(d["p"]), e8(d["q"]), d["T"] * 10**6, d["m"], d["E"] * 10**6, recv)
        case ["kline_1m"]:
            return None
    raise AssertionError(name)


@captures.needed
@pytest.mark.parametrize("name", captures.SPOT + captures.MULTI)
def test_every_recorded_message_means_what_an_independent_decoder_reads(name: str) -> None:
    decoder = wire.FrameDecoder()
    seen = 0
    for line in captures.lines(name):
        match line:
            case Frame(ts_recv_ns, body):
                assert decoder.decode(body, ts_recv_ns) == model(body, ts_recv_ns)
                seen += 1
            case Answer(_, url, body) if "/depth" in url:
                snapshot, answer = wire.depth_snapshot(body, "X", 1000), json.loads(body)
                assert (snapshot.update_id, snapshot.bids) == (answer["lastUpdateId"], side(answer["bids"]))
                assert (snapshot.asks, snapshot.limit) == (side(answer["asks"]), 1000)
                seen += 1
    assert seen > 3
    assert not decoder.unknown


@captures.needed
def test_futures_diffs_are_not_taken_for_spot_diffs() -> None:
    decoder = wire.FrameDecoder()
    kinds = {type(decoder.decode(x.body, 0)) for x in captures.lines("usdm/btcusdt_20240718.gz") if isinstance(x, Frame)}
    assert DepthUpdate not in kinds
    assert decoder.unknown["depth@0ms"] > 3000


@captures.needed
def test_the_recorded_exchange_info_gives_the_rules_of_every_symbol() -> None:
    (line,) = (x for x in captures.lines("exchange_info/binance_20211012_exchangeInfo.raw.gz") if isinstance(x, Answer))
    info, answer = wire.exchange_info(line.body), json.loads(line.body)
    assert len(info.rules) == 1695
    for row in answer["symbols"]:
        filters = {rule["filterType"]: rule for rule in row["filters"]}
        rules = info.rules[row["symbol"]]
        assert rules.tick_e8 == e8(filters["PRICE_FILTER"]["tickSize"])
        assert rules.step_e8 == e8(filters["LOT_SIZE"]["stepSize"])
        assert (rules.status, rules.base_asset, rules.quote_asset) == (row["status"], row["baseAsset"], row["quoteAsset"])
    assert (info.weight_limit_per_minute, info.raw_limit, info.raw_interval_s) == (1200, 6100, 300)
    assert info.server_time_ns == answer["serverTime"] * 10**6


# Numbers, against units.fixed --------------------------------------------------------------

LIKE_NUMBERS = st.one_of(
    st.text('0123456789._-+ eE\t\n"\\,[]٣５²', max_size=24),
    st.from_regex(r"\A[0-9]{0,12}\.[0-9]{7,9}\Z"),
    st.from_regex(r"\A[-+ _0-9]{1,3}[0-9_]{0,9}\.[0-9_ ]{8}\Z"),
    st.integers(0, 2**64).map(lambda n: f"{n // 10**8}.{n % 10**8:08}"),
    st.text(max_size=20),
)


def fixed_or_none(text: str) -> int | None:
    try:
        return units.fixed(text)
    except units.NotExact:
        return None


@given(LIKE_NUMBERS)
@example("92233720368.54775807")
@example("92233720368.54775808")
@example("0.00000000")
@example(".00000000")
def test_a_single_number_is_read_as_units_fixed_reads_it_or_refused_as_it_refuses(text: str) -> None:
    try:
        read: int | None = wire._number(text, "p")
    except Malformed as error:
        assert error.field == "p"
        read = None
    assert read == fixed_or_none(text)


def levels_or_none(raw: bytes) -> tuple[tuple[int, int], ...] | None:
    try:
        return wire.levels(raw)
    except (units.NotExact, msgspec.DecodeError):
        return None


def expected_levels(pairs: Any) -> tuple[tuple[int, int], ...] | None:
    """What JSON and units.fixed say."""
    if not isinstance(pairs, list):
        return None
    rows = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            return None
        price, quantity = map(fixed_or_none, pair)
        if price is None or quantity is None:
            return None
        rows.append((price, quantity))
    return tuple(rows)


@given(st.lists(st.tuples(LIKE_NUMBERS, LIKE_NUMBERS), max_size=4), st.booleans())
@example([("0.00012000", "92233720368.54775807"), ("92233720368.54775808", "1.00000000")], True)
@example([("1.00000000", "1.00000000"), ("99999999999.00000000", "1.00000000")], True)
@example([("1.00000000", "1.00000000"), ("1.00000000", "1_0.00000000")], True)
@example([(".00000000", "1.00000000")], True)
@example([("1.00000000", ".00000000")], True)
@example([("1_0.00000000", "1.00000000")], True)
@example([("1.00000000,1.00000000", "1")], True)
def test_levels_are_read_as_units_fixed_reads_them_or_refused_as_it_refuses(pairs: list[tuple[str, str]], compact: bool) -> None:
    raw = json.dumps(pairs, ensure_ascii=not compact, separators=(",", ":") if compact else None)
    assert levels_or_none(raw.encode(errors="surrogatepass")) == expected_levels([list(pair) for pair in pairs])


PIECES = st.sampled_from(
    ['"', "[", "]", ",", ".", "1", "00000000", '"1.00000000"', '["2.50000000","0.00000000"]', "[[", "]]", " "]
)


@given(st.lists(PIECES, max_size=14).map("".join), st.booleans())
def test_no_text_outside_the_grammar_is_taken_for_levels(text: str, wrapped: bool) -> None:
    raw = f"[[{text}]]" if wrapped else text
    try:
        pairs = json.loads(raw)
    except ValueError:
        pairs = None
    assert levels_or_none(raw.encode()) == expected_levels(pairs)


# REST bodies -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bids", "asks", "asked", "limit"),
    [
        (1000, 1000, 1000, 1000),
        (174, 1000, 1000, 1000),
        (221, 468, 1000, 1000),  # both complete
        (1000, 1000, 5000, 1000),  # something capped it
        (20, 37, 5000, 5000),  # the longer side shows that nothing cut at 20
        (0, 0, 100, 100),
    ],
)
def test_a_snapshot_tells_how_many_levels_were_to_be_had(bids: int, asks: int, asked: int, limit: int) -> None:
    sides = {"bids": [["1.0", "1"]] * bids, "asks": [["2.0", "1"]] * asks}
    assert wire.depth_snapshot(json.dumps({"lastUpdateId": 9, **sides}).encode(), "X", asked).limit == limit


def test_rows_of_aggregate_trades_have_no_event_time_and_keep_their_order() -> None:
    body = b'[{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1498793709153,"m":true,"M":true}]'
    assert wire.agg_trades(body, "BNBBTC") == [
        Trade("BNBBTC", 26129, 1633102, 470443515, 27781, 27781, 1498793709153_000_000, True)
    ]


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"lastUpdateId":1,"bids":[["1","x"]],"asks":[]}', b'[{"a":1}]'])
def test_a_body_that_is_not_the_answer_is_malformed(body: bytes) -> None:
    for read in (
        lambda: wire.depth_snapshot(body, "X", 100),
        lambda: wire.agg_trades(body, "X"),
        lambda: wire.exchange_info(body),
        lambda: wire.server_time_ns(body),
    ):
        with pytest.raises(Malformed):
            read()


def test_a_tick_size_of_zero_or_an_absent_filter_is_a_tick_of_zero() -> None:
    row = {"symbol": "X", "status": "NEW_WORD", "baseAsset": "A", "quoteAsset": "B"}
    off = {"filterType": "PRICE_FILTER", "tickSize": "0.00000000"}
    for filters in ([off], []):
        body = json.dumps({"symbols": [{**row, "filters": filters}], "serverTime": 1723161255208}).encode()
        info = wire.exchange_info(body)
        assert (info.rules["X"].tick_e8, info.rules["X"].step_e8, info.rules["X"].since_s) == (0, 0, 1723161255)
        assert info.weight_limit_per_minute is None


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"code":-1121,"msg":"Invalid symbol."}', (-1121, "Invalid symbol.")),
        (b"<html><style>a{}</style><h1>403 Forbidden</h1>&amp; more</html>", (None, "not JSON: 403 Forbidden & more")),
        (b"", (None, "no message (HTTP 403)")),
        (b"\xff\xfe", (None, "not JSON: \ufffd\ufffd")),
    ],
)
def test_the_body_of_an_error_is_read_as_far_as_it_can_be(body: bytes, expected: tuple[int | None, str]) -> None:
    assert wire.error_body(403, body) == expected


@pytest.mark.parametrize(
    ("url", "standin", "origin"),
    [
        ("wss://stream.binance.com:9443", None, "binance.com"),
        ("https://data-api.binance.vision", None, "binance.com"),
        ("https://api3.binance.com", None, "binance.com"),
        ("https://testnet.binance.vision", None, "testnet.binance.vision"),
        ("https://api.binance.us", None, "api.binance.us"),
        ("http://127.0.0.1:9000", "synthetic:7", "synthetic:7"),
    ],
)
def test_mirrors_are_one_exchange_and_other_hosts_are_their_own(url: str, standin: str | None, origin: str) -> None:
    assert wire.origin(url, standin) == origin
