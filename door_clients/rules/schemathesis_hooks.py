"""What schemathesis is told beside its configuration. It runs in schemathesis' environment, not in ours."""

import re
import time
from typing import Any

import schemathesis

SYMBOL = "BTCUSDT"
LENGTHS = range(2, 64, 2)  # half of those that a symbol may have by its schema; a wrong one must stay wrong
SECONDS = range(10_000_000_000)  # the same of times
WINDOW_S = 30

# Field, and how a refusal says what is allowed: what a request may hold beside what its schema says. A line that no refusal
# needs any more can go; a refusal that no line explains is a failure.
BESIDE_THE_SCHEMA = (
    (r"levels", r"one of them"),  # one number under three names
    (r"to_s", r"more than from_s, .*"),
    (r"start_time|end_time", r"0-99999999999999"),
    (r"symbol", r"1-32 (printable )?characters without .* and white space"),
    (r"options\.include_sections.*", r"price_overview, .*"),
    (r"notional|max_notional|price_step|tick_size", r".*"),  # decimals as text; multiples of the tick
)
WHOLE = re.compile(r"Expected `int.*`, got `float`")  # 5.0 is an integer to JSON Schema, and not to the door


@schemathesis.hook
def before_load_schema(context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    """It reads `prefixItems` of an answer as if it stood in an older dialect, and then refuses it: give it a looser form.

    [integer, integer, text] becomes a list of three that are integer or text. tests/serve judges the strict one.
    """
    _loosen(raw_schema)


def _loosen(node: Any) -> None:
    if isinstance(node, dict):
        if "prefixItems" in node:
            kinds = node.pop("prefixItems")
            node["items"] = {"anyOf": [kind for place, kind in enumerate(kinds) if kind not in kinds[:place]]}
        for value in node.values():
            _loosen(value)
    elif isinstance(node, list):
        for value in node:
            _loosen(value)


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Most texts are no listed symbol, and most times are years from each other: only refusals would ever be looked at."""
    if not isinstance(body, dict):
        return body
    body = dict(body)
    symbol, start, end = body.get("symbol"), body.get("from_s"), body.get("to_s")
    if isinstance(symbol, str) and len(symbol) in LENGTHS:
        body |= {"symbol": SYMBOL}
    if type(start) is type(end) is int and start in SECONDS and end in SECONDS:
        now = int(time.time())
        body |= {"from_s": now - WINDOW_S, "to_s": now}
    return body


@schemathesis.check
def a_refusal_has_a_reason_beside_the_schema(ctx: Any, response: Any, case: Any) -> None:
    """A request that its schema allows is refused only for what stands above."""
    if response.status_code != 400 or not case.meta or not case.meta.generation.mode.is_positive:
        return
    told = response.json()
    field, why, allowed = (told["fields"][name] for name in ("field", "why", "allowed"))
    known = any(re.fullmatch(one, field) and re.fullmatch(other, allowed, re.DOTALL) for one, other in BESIDE_THE_SCHEMA)
    if not known and not WHOLE.search(why):
        raise AssertionError(f"{case.operation.path}: its schema allows what it refuses: {told['message']}")
