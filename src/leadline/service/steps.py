"""Long questions in short steps: a generator that pauses after each few milliseconds of work and returns the answer.

Where nobody waits it is run through; on the service's loop the sockets are read at each pause.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]


def run(steps: Steps[T]) -> T:
    """Without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            answer: T = done.value
            return answer


async def run_between(steps: Steps[T], breathe: Callable[[], Awaitable[None]]) -> T:
    """With `breathe` awaited at each pause."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            answer: T = done.value
            return answer
        await breathe()
