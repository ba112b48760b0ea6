"""The shape of a JSON body: keys in their order, JSON types, count of decimals. Templates are written by hand.

A template's leaf is an example. A text of digits stands for a decimal with as many decimals as it has; other texts, numbers and
truth values stand for any of their type; a list stands for any count of its first entry; None for anything.
"""

import json
import re
from typing import Any

_DECIMAL = re.compile(r"-?\d+(\.\d+)?")


def parsed(body: bytes | str) -> Any:
    """Objects as lists of pairs behind a mark, so that the order of keys is kept and no key is lost."""
    return json.loads(body, object_pairs_hook=lambda pairs: ("object", pairs))


def faults(template: Any, body: Any, where: str = "") -> list[str]:
    """Where a parsed body differs from a parsed template."""
    if template is None:
        return []
    if isinstance(template, tuple):
        if not isinstance(body, tuple):
            return [f"{where}: no object"]
        wanted, found = [key for key, _ in template[1]], [key for key, _ in body[1]]
        if wanted != found:
            return [f"{where}: keys {found}, not {wanted}"]
        pairs = zip(template[1], body[1], strict=True)
        return [fault for (key, inner), (_, value) in pairs for fault in faults(inner, value, f"{where}.{key}")]
    if isinstance(template, list):
        if not isinstance(body, list):
            return [f"{where}: no list"]
        return (
            [fault for n, value in enumerate(body) for fault in faults(template[0], value, f"{where}[{n}]")] if template else []
        )
    if type(template) is not type(body):
        return [f"{where}: {body!r} is no {type(template).__name__}"]
    if isinstance(template, str) and _DECIMAL.fullmatch(template):
        places = len(template.partition(".")[2])
        if not _DECIMAL.fullmatch(body) or len(body.partition(".")[2]) != places:
            return [f"{where}: {body!r} is no decimal of {places} places"]
    return []


def check(template: str, body: bytes | str) -> None:
    """Fail where a body has not the shape of a template."""
    found = faults(parsed(template), parsed(body))
    assert not found, (found[:5], body[:300])
    assert b" " not in (body if isinstance(body, bytes) else body.encode()), "JSON without spaces"
