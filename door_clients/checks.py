"""What a client was seen to say, held against what it should have said."""

from typing import Any

SHOWN = 200


class Checks:
    """How many were made, and a sentence for each that failed."""

    def __init__(self) -> None:
        self.made = 0
        self.failed: list[str] = []

    def equal(self, what: str, found: Any, wanted: Any) -> None:
        self.true(what, found == wanted, f"{_short(found)} instead of {_short(wanted)}")

    def true(self, what: str, so: bool, shown: Any = "") -> None:
        """shown: what it was, where it is not so."""
        self.made += 1
        if not so:
            self.failed.append(f"{what}: {_short(shown)}" if shown != "" else what)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
