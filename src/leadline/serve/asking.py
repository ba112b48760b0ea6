"""The one thing that a door needs of whoever answers: the service's own dispatcher, or a running service elsewhere."""

from collections.abc import Mapping
from typing import Any, Protocol

from leadline.serve.bounded import encoded
from leadline.serve.dispatch import Outcome, Progress
from leadline.serve.errors import Failed


class Asks(Protocol):
    """Answers calls of tools; never raises but for cancellation."""

    async def call(self, name: str, arguments: Any, *, transport: str, progress: Progress | None = None) -> Outcome:
        """progress: told of each step of a long answer."""
        ...


class Answer:
    """An answer as it is told: plain values, and the same as compact JSON of at most so many bytes."""

    def __init__(self, outcome: Outcome, bytes_max: int) -> None:
        assert outcome.tool is not None and outcome.failure is None, "there is an answer"
        self.tool = outcome.tool
        self.plain, self.data = encoded(outcome.tool, outcome.value, bytes_max)

    @property
    def text(self) -> str:
        """For people where the tool writes for people, else the JSON."""
        return str(self.plain[self.tool.text]) if self.tool.text else self.data.decode()


async def answer(asks: Asks, name: str, arguments: Mapping[str, Any], *, transport: str, bytes_max: int) -> Answer:
    """Raises Failed."""
    outcome = await asks.call(name, dict(arguments), transport=transport)
    if outcome.failure is not None:
        raise Failed(outcome.failure, outcome.door)
    return Answer(outcome, bytes_max)
