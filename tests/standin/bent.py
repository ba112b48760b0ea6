"""What the tests of faults share: a paused market, what it would send, and what is sent with a fault switched on."""

from typing import Any

from tests.standin.support import connect, get, post, rest_of

from leadline.standin.market import SyntheticMarket
from leadline.standin.server import StandIn

START_MS = 1_767_225_600_000
DEPTH = "btcusdt@depth@100ms"


def market(**options: Any) -> StandIn:
    return StandIn(SyntheticMarket(7, start_ms=START_MS), **{"speed": 0, "paused": True, **options})


def undisturbed(until_ms: int, stream: str = DEPTH) -> list[bytes]:
    frames = SyntheticMarket(7, start_ms=START_MS).advance((START_MS + until_ms) * 1_000_000 - 1)
    return [frame.payload for frame in frames if frame.stream == stream]


async def received(standin: StandIn, socket: Any, advance_ms: int) -> list[bytes]:
    """What comes within the next virtual milliseconds; ends the connection."""
    await standin.advance(advance_ms)
    await post(standin, "fault", fault="socket.close")
    return await rest_of(socket)


async def injections(standin: StandIn) -> list[dict]:
    return [one for one in (await get(standin, "/_standin/faults")).json if not one["fault"].startswith("socket.")]


async def disturbed(heard: str = DEPTH, /, **fault: object) -> tuple[list[bytes], list[dict]]:
    """(messages of 3 s with the fault switched on after 1 s, injections)"""
    async with market() as standin, connect(standin, f"/ws/{heard}") as socket:
        await standin.advance(1000)
        assert (await post(standin, "fault", **fault)).status == 200
        messages = await received(standin, socket, 2000)
        return messages, await injections(standin)


def before(stream: str = DEPTH) -> int:
    return len(undisturbed(1000, stream))
