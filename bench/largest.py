"""The largest answer that a tool can give, made of its struct: every list long, every text and number as long as they come.

The digits are random, as those of real prices are: equal ones would be fewer tokens.
"""

import random
import types
import typing
from typing import Any

import msgspec
from msgspec import Struct

from leadline.analytics.anomalies import SEVERITIES
from leadline.serve.tools import Tool
from leadline.service.queries.envelope import GAPS_LISTED

NESTED = 20  # rows of a list inside a row
KEYS = 40  # of an object whose fields are not fixed: no answer has more fields that may be null
SENTENCE = "bids and asks are complete to 12.5 bps from the mid, and what rests beyond that is not known; "
LENGTHS = {"reading": 400, "text": 300, "detail": 300, "reason": 300, "cause": 200, "warnings": 120, "gaps": 80, "next": 0}
WARNINGS = 8


def largest(tool: Tool, rows: int, seed: int = 7) -> Any:
    """With so many rows in each list that lies in no other list; a report has so many lines."""
    return _Maker(random.Random(seed), rows).value(tool.result, tool.text)


class _Maker:
    def __init__(self, rng: random.Random, rows: int) -> None:
        self._rng, self._rows = rng, rows

    def value(self, kind: Any, text: str | None) -> Any:
        """A struct, with its history rows and its text as they are."""
        fields = {field.name: self._of(field.type, field.name, 0) for field in msgspec.structs.fields(kind)}
        if text is not None:
            fields[text] = "".join(f"- {self._decimal()}, {SENTENCE}\n" for _ in range(self._rows))
        if "kind" in fields and "rows" in fields:  # get_history, whose rows have no struct
            fields |= {"step_s": 1, "rows": [self._second(t) for t in range(self._rows)]}
        return kind(**fields)

    def _of(self, kind: Any, name: str, depth: int) -> Any:
        origin, inner = typing.get_origin(kind), typing.get_args(kind)
        if origin is typing.Annotated:
            return self._of(inner[0], name, depth)
        if origin in {typing.Union, types.UnionType}:
            return self._of(next(one for one in inner if one is not type(None)), name, depth)
        if origin is typing.Literal:
            return max(inner, key=lambda one: len(str(one)))
        if origin is list:
            count = {"warnings": WARNINGS, "gaps": GAPS_LISTED}.get(name, NESTED if depth else self._rows)
            return [self._of(inner[0], name, depth + 1) for _ in range(count)]
        if origin is tuple:
            return tuple(self._of(one, name, depth + 1) for one in inner)
        if origin is dict:
            count = 0 if name == "omitted" else 3 if isinstance(inner[1], type) and issubclass(inner[1], Struct) else KEYS
            return {f"a_long_name_of_a_field_{n}": self._of(inner[1], name, depth + 1) for n in range(count)}
        if isinstance(kind, type) and issubclass(kind, Struct):
            return kind(**{field.name: self._of(field.type, field.name, depth) for field in msgspec.structs.fields(kind)})
        return self._plain(kind, name)

    def _plain(self, kind: Any, name: str) -> Any:
        if kind is bool:
            return name != "truncated"
        if kind is int:
            return self._rng.randint(10**15, 10**16)
        if kind is float:
            return self._rng.uniform(-1e6, 1e6)
        if name == "severity":
            return self._rng.choice(SEVERITIES).value
        if name in LENGTHS:
            return (SENTENCE * 5)[: LENGTHS[name]] or None
        return self._decimal()

    def _decimal(self) -> str:
        """The longest number that fits 1e-8 and 64 bits; also as long as the longest names."""
        return f"{self._rng.randint(10**10, 9 * 10**10)}.{self._rng.randint(10**7, 10**8 - 1)}"

    def _second(self, t: int) -> dict[str, Any]:
        """As many fields as a record, each with a number."""
        return {"t": t, **{f"depth_of_a_side_{n}": self._decimal() for n in range(40)}}
