"""A question that cannot be sent is refused for what it is, whether the service that would be asked runs or not."""

from typing import Any

import pytest
from tests.fakes import FakeClock, run

from leadline.serve.remote import Remote

NESTED: list[Any] = []
for _ in range(5_000):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"symbol": "\ud800"}, "symbol"),
        ({"symbol": NESTED}, "symbol"),
        ({"symbol": "BTCUSDT", "max_age_ms": float("nan")}, "max_age_ms"),
        ({"symbol": "BTCUSDT", "sped": 1}, "sped"),
        ([], "arguments"),
    ],
)
def test_a_wrong_question_names_its_field_and_nobody_is_blamed_for_not_answering(arguments: Any, field: str):
    async def check() -> None:
        async with Remote("http://127.0.0.1:1", FakeClock()) as remote:
            outcome = await remote.call("orderbook_l1", arguments, transport="mcp")
        assert outcome.failure is not None
        assert (outcome.failure.error, outcome.failure.fields["field"]) == ("InvalidRequest", field)

    run(check())
