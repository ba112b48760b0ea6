"""Schemas are those of the structs: each field of a request is in its schema, bounded as the request is; every field of an answer
says what it means."""

from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from tests.serve.test_requests import VALID, wrongs

from leadline.core.errors import InvalidRequest
from leadline.serve.requests import ALIASES, LadderRequest, request_of
from leadline.serve.schemas import input_schema, output_schema
from leadline.serve.tools import TOOLS, Tool
from leadline.service.queries.sentences import sentences, structs_of

each = pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)


@each
def test_a_request_takes_the_fields_of_its_schema_and_no_others(tool: Tool):
    schema = input_schema(tool.request)
    Draft202012Validator.check_schema(schema)
    own = {field.name for field in msgspec.structs.fields(tool.request)}
    others = {other for names in ALIASES.get(tool.request, {}).values() for other in names}
    assert set(schema["properties"]) == own | others
    assert schema["additionalProperties"] is False
    assert all(
        field.get("description") or field.get("enum") or "$ref" in str(field) or "anyOf" in field or "items" in str(field)
        for field in schema["properties"].values()
    )


@each
def test_the_schema_refuses_what_the_request_refuses(tool: Tool):
    """Two independent judges: the schema's validator and the conversion. A whole float is an integer to JSON Schema alone."""
    validator = Draft202012Validator(input_schema(tool.request))
    assert validator.is_valid(VALID[tool.name])
    request_of(tool.request, VALID[tool.name])
    for what, arguments, _ in wrongs(tool.name):
        assert not validator.is_valid(arguments), what
        with pytest.raises(InvalidRequest):
            request_of(tool.request, arguments)


@each
def test_the_defaults_of_the_schema_are_those_of_the_request(tool: Tool):
    request: Any = request_of(tool.request, VALID[tool.name])
    for name, said in input_schema(tool.request)["properties"].items():
        if "default" in said and name not in VALID[tool.name] and hasattr(request, name):
            assert msgspec.to_builtins(getattr(request, name)) == said["default"] or name == "levels"


def test_other_names_have_the_bounds_of_the_field():
    fields = input_schema(LadderRequest)["properties"]
    for other in ("depth_levels", "limit"):
        assert (fields[other]["minimum"], fields[other]["maximum"]) == (1, 100)
        assert fields[other]["description"] == "Same as levels."
    assert fields["levels"]["description"] == "Rows a side, at most."


@each
def test_every_field_of_an_answer_has_its_sentence(tool: Tool):
    schema = output_schema(tool.result)
    Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False and schema["type"] == "object"
    bodies = [schema, *schema.get("$defs", {}).values()]
    assert len(bodies) == len(structs_of(tool.result))
    for kind in structs_of(tool.result):
        body = schema if kind is tool.result else schema["$defs"][kind.__name__]
        assert body["description"], kind
        for name, sentence in sentences(kind).items():
            assert body["properties"][name]["description"] == sentence


@each
def test_the_short_form_differs_in_its_sentences_alone(tool: Tool):
    long, short = output_schema(tool.result), output_schema(tool.result, described=False)
    assert _without_sentences(long) == _without_sentences(short)
    assert len(msgspec.json.encode(short)) < len(msgspec.json.encode(long))


def _without_sentences(node: Any) -> Any:
    """A description is text; a field of that name is an object."""
    if isinstance(node, dict):
        return {k: _without_sentences(v) for k, v in node.items() if not (k in {"description", "title"} and isinstance(v, str))}
    return [_without_sentences(one) for one in node] if isinstance(node, list) else node


@each
def test_a_tool_is_described_in_under_300_characters(tool: Tool):
    assert 20 < len(tool.help) < 300
    assert tool.name == tool.name.lower() and "." not in tool.name
