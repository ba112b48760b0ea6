"""MCP: the table of tools, resources, prompts and completions for assistants, whoever answers the calls.

Revisions 2024-11-05 to 2026-07-28 of the protocol, over whatever transport the library is given. Nothing may be in the structured
content of an answer that is not in its text, and the other way round: hosts pass on only one of them.
"""

import logging
from collections.abc import Awaitable
from typing import Any

import mcp_types as types
import msgspec
from mcp.server.lowlevel import Server
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError

from leadline import __version__
from leadline.core.errors import InvalidRequest, LeadlineError, UnknownName
from leadline.serve import prompts, resources, search
from leadline.serve.asking import Answer, Asks, answer
from leadline.serve.errors import Failed, Failure, failure_of
from leadline.serve.listing import Offer, short_input, short_output, tools_of
from leadline.serve.mcp_cues import Subscriptions
from leadline.serve.reference import PAGES

log = logging.getLogger("leadline.serve")

TRANSPORT = "mcp"
FAILURE_KEY = "leadline/failure"
COMPLETIONS_MAX = 100
ABOUT = (
    "Leadline keeps live order books of Binance symbols, records them every second, and answers about them. Read-only. "
    "Every answer begins with `reading`, one sentence, and carries `envelope`: origin (synthetic:... and replay:... are no real "
    "market), state (LIVE, or why not), age_ms, coverage. Numbers are in the units that their names end in; imbalance and flow "
    "are above 0 where buyers press. null means that there is no right number: `reasons` says why; do not fill it in. "
    "`leadline://docs/{tool}` explains every field. list_symbols says what is there."
)

Context = Any


def mcp_server(
    asks: Asks, offer: Offer, *, listen: ListenHandler | None = None, subscriptions: Subscriptions | None = None
) -> "Server[Any]":
    """asks: who answers. listen, subscriptions: tell those who want it that a resource has changed, the latter the one session
    of this server; None: nobody does.
    """
    tools = _Tools(asks, offer)
    shown = _Resources(asks, offer)
    return Server(
        "leadline",
        version=__version__,
        title="Leadline",
        instructions=ABOUT,
        on_list_tools=tools.list,
        on_call_tool=tools.call,
        on_list_resources=shown.list,
        on_list_resource_templates=shown.templates,
        on_read_resource=shown.read,
        on_list_prompts=_list_prompts,
        on_get_prompt=_get_prompt,
        on_completion=_Completions(asks).complete,
        on_subscribe_resource=None if subscriptions is None else subscriptions.subscribe,
        on_unsubscribe_resource=None if subscriptions is None else subscriptions.unsubscribe,
        on_subscriptions_listen=listen,
    )


# Tools -----------------------------------------------------------------------


class _Tools:
    def __init__(self, asks: Asks, offer: Offer) -> None:
        self._asks = asks
        self._offer = offer
        self._listed = [
            types.Tool(
                name=tool.name,
                description=tool.help,
                input_schema=short_input(tool.request),
                output_schema=short_output(tool),
                annotations=_read_only(open_world=tool.rest),
            )
            for tool in tools_of(offer.toolsets)
        ]
        if offer.public_url:
            self._listed += [_documents(name, field, said) for name, field, said in _DOCUMENT_TOOLS]

    async def list(self, _: Context, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=self._listed)

    async def call(self, ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        arguments = params.arguments or {}
        if self._offer.public_url and params.name in {"search", "fetch"}:
            return await self._document(params.name, arguments)

        async def progress(done: int) -> None:
            await ctx.session.report_progress(done)

        outcome = await self._asks.call(params.name, arguments, transport=TRANSPORT, progress=progress)
        if outcome.failure is not None:
            if outcome.failure.error == UnknownName.__name__:
                raise _invalid_params(outcome.failure)
            return _refused(outcome.failure)
        found = Answer(outcome, self._offer.bytes_max)
        return types.CallToolResult(
            content=[types.TextContent(text=found.text)], structured_content=None if found.tool.text else found.plain
        )

    async def _document(self, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
        url = self._offer.public_url
        try:
            if name == "search":
                _only(arguments, "query")
                found = await search.search(self._asks, arguments.get("query"), transport=TRANSPORT, public_url=url)
            else:
                _only(arguments, "id")
                found = await search.fetch(
                    self._asks, arguments.get("id"), transport=TRANSPORT, public_url=url, bytes_max=self._offer.bytes_max
                )
        except LeadlineError as error:
            return _refused(failure_of(error))
        except Failed as failed:
            return _refused(failed.failure)
        return types.CallToolResult(content=[types.TextContent(text=msgspec.json.encode(found).decode())])


_DOCUMENT_TOOLS = (
    ("search", "query", "Find documents about a symbol: words and a symbol, e.g. `order book of BTCUSDT`. Gives ids for fetch."),
    ("fetch", "id", "One document by its id, e.g. orderbook_l1:BTCUSDT, with the address at which it opens."),
)


def _documents(name: str, field: str, said: str) -> types.Tool:
    schema = {"type": "object", "properties": {field: {"type": "string"}}, "required": [field], "additionalProperties": False}
    return types.Tool(name=name, description=said, input_schema=schema, annotations=_read_only(open_world=False))


def _read_only(*, open_world: bool) -> types.ToolAnnotations:
    return types.ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=open_world)


def _only(arguments: dict[str, Any], field: str) -> None:
    if unknown := sorted(set(arguments) - {field}):
        raise InvalidRequest(unknown[0][:80], "unknown field", field)


def _refused(failure: Failure) -> types.CallToolResult:
    """The sentence for the model, the fields for programs."""
    return types.CallToolResult(
        content=[types.TextContent(text=failure.message)], is_error=True, _meta={FAILURE_KEY: msgspec.to_builtins(failure)}
    )


def _invalid_params(failure: Failure, **beside: str) -> MCPError:
    return MCPError(types.INVALID_PARAMS, failure.message, msgspec.to_builtins(failure) | beside)


# Resources -------------------------------------------------------------------


class _Resources:
    def __init__(self, asks: Asks, offer: Offer) -> None:
        self._asks = asks
        self._bytes_max = offer.bytes_max

    async def list(self, _: Context, __: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
        """What stands alone, and the pages of the reference."""
        single = [
            types.Resource(uri=row.uri, name=row.name, description=row.help, mime_type=row.mime_type)
            for row in resources.RESOURCES
            if not row.many
        ]
        pages = [
            types.Resource(
                uri=f"leadline://docs/{page}", name=page, description=f"Reference: {page}.", mime_type=resources.MARKDOWN
            )
            for page in PAGES
        ]
        return types.ListResourcesResult(resources=[*single, *pages])

    async def templates(self, _: Context, __: types.PaginatedRequestParams | None) -> types.ListResourceTemplatesResult:
        rows = [
            types.ResourceTemplate(uri_template=row.uri, name=row.name, description=row.help, mime_type=row.mime_type)
            for row in resources.RESOURCES
            if row.many
        ]
        return types.ListResourceTemplatesResult(resource_templates=rows)

    async def read(self, _: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        uri = str(params.uri)
        found = await _told(resources.read(self._asks, uri, transport=TRANSPORT, bytes_max=self._bytes_max), uri=uri)
        content = types.TextResourceContents(uri=uri, mime_type=found.mime_type, text=found.text)
        return types.ReadResourceResult(contents=[content])


# Prompts and completions -----------------------------------------------------


async def _list_prompts(_: Context, __: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    return types.ListPromptsResult(
        prompts=[
            types.Prompt(
                name=prompt.name,
                description=prompt.help,
                arguments=[
                    types.PromptArgument(name=argument.name, description=argument.help, required=argument.default is None)
                    for argument in prompt.arguments
                ],
            )
            for prompt in prompts.PROMPTS
        ]
    )


async def _get_prompt(_: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    try:
        text = prompts.filled(params.name, params.arguments or {})
    except LeadlineError as error:
        raise _invalid_params(failure_of(error)) from error
    message = types.PromptMessage(role="user", content=types.TextContent(text=text))
    return types.GetPromptResult(description=prompts.prompt_of(params.name).help, messages=[message])


class _Completions:
    def __init__(self, asks: Asks) -> None:
        self._asks = asks

    async def complete(self, _: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Of the arguments of prompts and the places in addresses."""
        known = await _told(self._values(params.ref, params.argument.name))
        begun = params.argument.value.strip().lower()
        found = [value for value in known if value.lower().startswith(begun)]
        return types.CompleteResult(
            completion=types.Completion(values=found[:COMPLETIONS_MAX], total=len(found), has_more=len(found) > COMPLETIONS_MAX)
        )

    async def _values(self, ref: Any, argument: str) -> list[str]:
        """Raises UnknownName, Failed."""
        if isinstance(ref, types.PromptReference):
            prompt = prompts.prompt_of(ref.name)
            row = next((one for one in prompt.arguments if one.name == argument), None)
            if row is None:
                raise UnknownName("argument", argument[:80], [one.name for one in prompt.arguments])
            return list(row.values) or await self._symbols()
        resource, _ = resources.resource_of(str(ref.uri))
        if "{" + argument + "}" not in resource.uri:
            raise UnknownName("argument", argument[:80])
        return list(PAGES) if resource.tool is None else await self._symbols()

    async def _symbols(self) -> list[str]:
        found = await answer(self._asks, "list_symbols", {}, transport=TRANSPORT, bytes_max=2**22)
        return [str(row["symbol"]) for row in found.plain["symbols"]]


async def _told(asked: Awaitable[Any], **beside: str) -> Any:
    """A name that is none, or a question without an answer, in the words of the protocol. beside: what it wants to find there."""
    try:
        return await asked
    except LeadlineError as error:
        raise _invalid_params(failure_of(error), **beside) from error
    except Failed as failed:
        code = types.INVALID_PARAMS if failed.door.http in {400, 404} else types.INTERNAL_ERROR
        raise MCPError(code, failed.failure.message, msgspec.to_builtins(failed.failure) | beside) from failed
