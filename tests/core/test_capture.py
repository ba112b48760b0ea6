"""Lines of recordings: two formats, and what is neither."""

import pytest

from leadline.core.capture import HFT_DEPTH_URL, Answer, Frame, NotACaptureLine, Opened, parse


def test_nanoseconds_and_microseconds_are_told_apart_by_size():
    assert parse(b'1723161255233114981 {"stream":"x"}\n') == Frame(1723161255233114981, b'{"stream":"x"}')
    assert parse(b'1723161255233114 {"stream":"x"}\n') == Frame(1723161255233114000, b'{"stream":"x"}')


def test_the_bare_depth_body_is_the_answer_to_a_depth_request():
    body = b'{"lastUpdateId":7,"bids":[],"asks":[]}'
    assert parse(b"1723161255233114981 " + body) == Answer(1723161255233114981, HFT_DEPTH_URL, body)


def test_a_frame_line_has_seconds_with_a_fraction_that_is_kept_exactly():
    assert parse(b'1617566591.3456789: {"e":1}\n') == Frame(1617566591345678900, b'{"e":1}')
    assert parse(b"1617566591: [1]\n") == Frame(1617566591000000000, b"[1]")
    assert parse(b"1617566591.1234567899: [1]\n").ts_recv_ns == 1617566591123456789


def test_an_answer_line_keeps_its_url_with_the_query():
    line = b'https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000 -> 1617566591.5: {"lastUpdateId":1}\n'
    assert parse(line) == Answer(
        1617566591500000000, "https://api.binance.com/api/v3/depth?symbol=BTCUSDT&limit=1000", b'{"lastUpdateId":1}'
    )


def test_an_opened_connection_names_its_streams():
    line = b"wss://stream.binance.com:9443/stream?streams=btcusdt@depth@100ms <-> 1617566590.25\n"
    assert parse(line) == Opened(1617566590250000000, "wss://stream.binance.com:9443/stream?streams=btcusdt@depth@100ms")


@pytest.mark.parametrize("line", [b"", b"\n", b"  \n", b"configuration: depth_interval=100ms\n"])
def test_empty_lines_and_notes_say_nothing(line):
    assert parse(line) is None


@pytest.mark.parametrize(
    "line",
    [
        b"hello\n",
        b'{"stream":"x"}\n',
        b'1723161255233114981 {"stream":"x"\n',  # cut in the middle
        b"1723161255233114981\n",
        b'172316125523311 {"a":1}\n',  # 15 digits
        b'17231612552331149811 {"a":1}\n',  # 20 digits
        b'1617566591.5 {"a":1}\n',
        b"https://x -> y: {}\n",
        b"\x00\x01\x02",
    ],
)
def test_what_is_neither_format_is_refused(line):
    with pytest.raises(NotACaptureLine):
        parse(line)
