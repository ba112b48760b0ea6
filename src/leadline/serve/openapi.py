"""What the HTTP door says of itself: OpenAPI 3.1 of every path, with every status that a request may meet.

Schemas stand in it as a whole, without references: generators of clients differ in what they make of those.
"""

from collections import defaultdict
from typing import Any

from leadline import __version__
from leadline.core.errors import LeadlineError
from leadline.serve.errors import BUG, TABLE, Failure
from leadline.serve.schemas import input_schema, output_schema
from leadline.serve.tools import TOOLS, Tool

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TOKEN = "token"  # noqa: S105 (a name in the description)
OBJECT = {"type": "object"}

AT_EVERY_PATH = {403: "InvalidOrigin", 421: "InvalidHost"}
BUT_HEALTH = {413: "TooLarge", 429: "Overloaded"}
ASKED = {401: "Unauthenticated"}  # where a token is set

ALIVE = {**OBJECT, "properties": {"status": {"const": "ok"}, "version": {"type": "string"}}, "required": ["status", "version"]}
READY = {
    **OBJECT,
    "properties": {
        "ready": {"type": "boolean"},
        "reason": {"type": ["string", "null"], "description": "What is not; null: ready."},
        "symbols": {"type": "object", "description": "Per symbol its state and the age of its newest stored second, s."},
    },
    "required": ["ready", "reason", "symbols"],
}
LISTING = {
    **OBJECT,
    "properties": {
        "tools": {
            "type": "array",
            "items": {
                **OBJECT,
                "properties": {name: {"type": "string"} for name in ("name", "description", "toolset")}
                | {"input_schema": OBJECT, "output_schema": OBJECT},
                "required": ["name", "description", "toolset", "input_schema", "output_schema"],
            },
        }
    },
    "required": ["tools"],
}
LIVE_ONLY = {
    "name": "live_only",
    "in": "query",
    "description": "1: without the store, so that a full disk does not take the live books out of a balancer.",
    "schema": {"type": "string"},
}


def description(*, token: bool) -> dict[str, Any]:
    """token: one is asked for, at every path but those of health."""
    refused = AT_EVERY_PATH | BUT_HEALTH | (ASKED if token else {})
    paths = {
        "/healthz": _get("healthz", "Does the process live?", {200: _json("It lives.", ALIVE)}, AT_EVERY_PATH),
        "/readyz": _get(
            "readyz",
            "Is every followed symbol LIVE, and was it stored within 10 s?",
            {200: _json("Yes.", READY), 503: _json("No, and why.", READY)},
            AT_EVERY_PATH,
            LIVE_ONLY,
        ),
        "/metrics": _get("metrics", "The scrape.", {200: _told("Prometheus text.", {"type": "string"}, "text/plain")}, refused),
        "/openapi.json": _get("openapi", "This description.", {200: _json("OpenAPI 3.1.", OBJECT)}, refused),
        "/api/tools": _get("tools", "What can be asked, with schemas.", {200: _json("All tools.", LISTING)}, refused),
        **{f"/api/tools/{tool.name}": {"post": _question(tool, refused)} for tool in TOOLS},
    }
    said: dict[str, Any] = {"openapi": "3.1.0", "info": {"title": "Leadline", "version": __version__}, "paths": paths}
    if token:
        said["components"] = {"securitySchemes": {TOKEN: {"type": "http", "scheme": "bearer"}}}
        for path in paths.values():
            for operation in path.values():
                if "401" in operation["responses"]:
                    operation["security"] = [{TOKEN: []}]
    return said


def _question(tool: Tool, refused: dict[int, str]) -> dict[str, Any]:
    """Without a body the defaults are asked for, where there is one for each field."""
    asked = input_schema(tool.request)
    answer = {200: _json("The answer.", _standing_alone(output_schema(tool.result)))}
    return {
        "operationId": tool.name,
        "summary": tool.help,
        "requestBody": {
            "required": bool(asked.get("required")),
            "content": {"application/json": {"schema": _standing_alone(asked)}},
        },
        "responses": _responses(answer, refused, TABLE),
    }


def _get(name: str, summary: str, answers: dict[int, Any], refused: dict[int, str], *parameters: Any) -> dict[str, Any]:
    said = {"operationId": name, "summary": summary, "responses": _responses(answers, refused, {})}
    return {"get": said | ({"parameters": list(parameters)} if parameters else {})}


def _responses(answers: dict[int, Any], refused: dict[int, str], table: dict[type[LeadlineError], Any]) -> dict[str, Any]:
    """By status, in their order; one status may stand for several classes of failure."""
    classes: defaultdict[int, list[str]] = defaultdict(list)
    for kind, door in table.items():
        classes[door.http].append(kind.__name__)
    if table:
        classes[BUG.http].append("InternalError")
    for status, name in refused.items():
        classes[status].append(name)
    found = {**{status: _failure(status, names) for status, names in classes.items()}, **answers}
    return {str(status): found[status] for status in sorted(found)}


def _failure(status: int, names: list[str]) -> dict[str, Any]:
    said = _json(f"No answer: {', '.join(names)}.", _standing_alone(output_schema(Failure)))
    if status in {429, 503}:
        seconds = {"type": "integer", "minimum": 1}
        said["headers"] = {"Retry-After": {"description": "s; where it is known", "required": status == 429, "schema": seconds}}
    if status == 401:
        said["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}}
    return said


def _json(sentence: str, schema: dict[str, Any]) -> dict[str, Any]:
    return _told(sentence, schema, "application/json")


def _told(sentence: str, schema: dict[str, Any], media_type: str) -> dict[str, Any]:
    return {"description": sentence, "content": {media_type: {"schema": schema}}}


def _standing_alone(schema: dict[str, Any]) -> dict[str, Any]:
    """Each reference replaced by what it points at; none of ours points at itself."""
    defs = schema.get("$defs", {})

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                beside = {name: value for name, value in node.items() if name != "$ref"}
                return {**walk(defs[node["$ref"].rsplit("/", 1)[-1]]), **beside}
            return {name: walk(value) for name, value in node.items() if name != "$defs"}
        return [walk(one) for one in node] if isinstance(node, list) else node

    return {"$schema": DIALECT, **walk(schema)}
