"""JSON Schema 2020-12 of requests and answers, from their structs; the sentence of each field is in its docstring."""

from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from leadline.serve.requests import ALIASES, Request
from leadline.service.queries.sentences import about, sentences, structs_of


@cache
def input_schema(kind: type[Request]) -> dict[str, Any]:
    """One object; nothing beside its fields is accepted."""
    schema = _rooted(kind)
    for name, others in ALIASES.get(kind, {}).items():
        said = schema["properties"][name].get("description", "")
        for other in others:
            schema["properties"][other] = {**_plain(schema["properties"][name]), "description": f"Same as {name}."}
        schema["properties"][name]["description"] = said
    return schema


@cache
def output_schema(kind: type[Struct], *, described: bool = True) -> dict[str, Any]:
    """One object. described: with the sentence of each field; without, it is half as long."""
    schema = _rooted(kind)
    kinds = {one.__name__: one for one in structs_of(kind)}
    named = [(kind, schema), *((kinds[name], body) for name, body in schema.get("$defs", {}).items() if name in kinds)]
    for one, body in named:
        said = sentences(one)
        for name, field in body.get("properties", {}).items():
            if described and name in said:
                field["description"] = said[name]
        if described:
            body["description"] = about(one)
        else:
            body.pop("description", None)
            body.pop("title", None)
    return schema


def _rooted(kind: type[Struct]) -> dict[str, Any]:
    (root,), defs = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    name = root["$ref"].rsplit("/", 1)[-1]
    schema: dict[str, Any] = defs.pop(name)
    schema["additionalProperties"] = False
    schema.pop("title", None)
    if "description" in schema:
        schema["description"] = about(kind)
    for body in defs.values():
        body.pop("title", None)
    if defs:
        schema["$defs"] = defs
    return schema


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in field.items() if name not in {"default", "description"}}
