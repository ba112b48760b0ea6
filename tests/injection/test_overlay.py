"""An engine over another: what is seen of either, and that the lower one stays as it is."""

import pytest
from bench.injection.overlay import OverlayEngine

from leadline.store import keys
from leadline.store.engine import Engine, Put
from leadline.store.memory import MemoryEngine

S = 1_767_225_600
LO, HI = keys.symbol_range("X")


def put(family: str, second: int, value: bytes) -> Put:
    return family, keys.at("X", second), value


def engines() -> tuple[MemoryEngine, Engine]:
    """Below: seconds S..S+4 and an incident at S+2 and S+3; seen up to S+2. Above: S+2 once more, and S+3."""
    base = MemoryEngine()
    base.write([put("seconds", S + n, b"below %d" % n) for n in range(5)])
    base.write([("incidents", keys.incident("X", S + n, 7), b"i%d" % n) for n in (2, 3)])
    base.write([("meta", b"origin", b"o"), put("hours", S, b"sums")])
    over = OverlayEngine(base, "X", S + 2)
    over.write([put("seconds", S + 2, b"above 2"), put("seconds", S + 3, b"above 3")])
    return base, over


def test_own_rows_win_and_the_base_ends_at_its_second():
    _, over = engines()
    values = [over.get("seconds", keys.at("X", S + n)) for n in range(5)]
    assert values == [b"below 0", b"below 1", b"above 2", b"above 3", None]
    assert [value for _, value in over.scan("seconds", LO, HI).rows] == values[:4]
    assert [value for _, value in over.scan("seconds", LO, HI, 3).rows] == values[:3]
    assert over.scan("seconds", keys.at("X", S + 4), HI).rows == []
    assert over.count("seconds", LO, HI) == 4
    assert over.scan("incidents", LO, HI).rows == [(keys.incident("X", S + 2, 7), b"i2")]


@pytest.mark.parametrize(("upto", "value"), [(S, b"below 0"), (S + 2, b"above 2"), (S + 9, b"above 3"), (S - 1, None)])
def test_the_last_row_is_that_of_the_layer_that_has_the_later_one(upto: int, value: bytes | None):
    row = engines()[1].last("seconds", LO, keys.at("X", upto))
    assert (row and row[1]) == value


def test_without_own_rows_the_last_one_is_the_base_s_last_that_is_seen():
    base, _ = engines()
    row = OverlayEngine(base, "X", S + 2).last("seconds", LO, HI)
    assert row == (keys.at("X", S + 2), b"below 2")


def test_meta_is_seen_whole_and_what_is_derived_not_at_all():
    _, over = engines()
    assert over.get("meta", b"origin") == b"o"
    assert over.get("hours", keys.at("X", S)) is None
    assert over.scan("hours", LO, HI).rows == []
    assert over.last("hours", LO, HI) is None
    over.write([], [("hours", LO, HI)])


def test_the_base_is_not_written_to():
    base, over = engines()
    before = base.scan("seconds", LO, HI).rows
    over.write([put("seconds", S, b"other")])
    over.close()
    assert base.scan("seconds", LO, HI).rows == before


def test_nothing_that_was_recorded_is_deleted():
    with pytest.raises(AssertionError, match="deletes nothing"):
        engines()[1].write([], [("seconds", LO, HI)])
