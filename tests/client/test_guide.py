"""docs/client.md: its examples run as they are written, and what it says of figures is what the code has."""

import functools
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.client.doors import Neighbour, neighbour
from tests.serve.market import BTC, House, Market
from tests.store import samples

from leadline import client
from leadline.client import aio
from leadline.service.lines import LAG_MAX, RING

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "client.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
ETH = "ETHUSDT"
N = r"\d+(?:\.\d+)?"
SAYS = [  # one for each example
    rf"^LIVE synthetic:7 {N} {N} {N}\n.+\n$",
    rf"^(BTCUSDT|ETHUSDT) \d+ {N} \d+ \d+\n",
    rf"^(\d+ buy {N} 5E-8\n){{3,}}$",
    r"^\d+ of 300 s \(Gap\(.*time_utc.*shape: \(3, 8\)",
    rf"^0\.0\nLIVE {N}\n$",
    r"^BTCUSD \('BTCUSDT',",
]


def house() -> House:
    """Two live books, and a minute of records up to now."""
    found = House(Market(), Market(ETH, seed=3))
    for symbol in found.markets:
        found.go_live(symbol)
    now_s = int(time.time())
    rows = [samples.row(now_s - n, trades=(samples.block(now_s - n, 100 - n),)) for n in range(1, 60)]
    assert found.history.write(rows) == []
    return found


@contextmanager
def moving(beside: Neighbour) -> Iterator[None]:
    """The markets move and trade meanwhile."""
    over = threading.Event()

    def move() -> None:
        while not over.is_set():
            for symbol in (BTC, ETH):
                beside.do(functools.partial(beside.house.move, symbol))
            beside.do(beside.house.trade)

    thread = threading.Thread(target=move)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


@pytest.mark.parametrize("number", range(len(SAYS)))
def test_an_example_runs_as_it_is_written(number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """On a port of the test's own: of what is written only the address that is left out is another one."""
    with neighbour(house()) as beside:
        for kind in ("Client", "AsyncClient"):
            at = functools.partial(getattr(client, kind), f"127.0.0.1:{beside.port}")
            monkeypatch.setattr(client, kind, at)
        with moving(beside):
            exec(compile(EXAMPLES[number], f"example {number}", "exec"), {"__name__": "__main__"})
    assert re.search(SAYS[number], capsys.readouterr().out, re.DOTALL)


def test_every_example_is_tried():
    assert len(EXAMPLES) == len(SAYS)


@pytest.mark.parametrize(
    "figure",
    [
        f"after {aio.PAUSES_S[0]:g} s at first and every {aio.PAUSES_S[-1]:g} s at last",
        f"nothing heard for {aio.SILENCE_S:g} s",
        f"more than {LAG_MAX} changes before it",
        f"when more than {RING} lie before it",
        f"`timeout_s` ({aio.TIMEOUT_S:g})",
        f'`Client("{aio.TARGET}", token="")`',
    ],
)
def test_a_figure_is_that_of_the_code(figure: str):
    assert figure in " ".join(TEXT.split())


def test_every_state_and_news_is_told():
    for word in ("LIVE", "WAITING", "SYNCING", "STALE", "OFF", "UNKNOWN", *client.News, *client.Policy):
        assert f"`{word}`" in TEXT or word == client.News.TRADES
