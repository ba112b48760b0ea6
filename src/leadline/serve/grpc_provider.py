"""provider.v1.Provider, as existing gateways know it: what there is, one call of a tool, resources, prompts, topics."""

import inspect
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Struct

from leadline import __version__
from leadline.clock import Clock
from leadline.core.errors import BookNotLive, InvalidRequest, UnknownName
from leadline.serve.bounded import encoded
from leadline.serve.dispatch import Dispatcher
from leadline.serve.grpc_door import Context, answering, json_object
from leadline.serve.grpc_topics import cloud_events, reader_of
from leadline.serve.proto import provider_pb2 as pb
from leadline.serve.proto.provider_pb2_grpc import ProviderServicer
from leadline.serve.schemas import input_schema, output_schema
from leadline.serve.tools import PREFIXES, TOOLS
from leadline.service.fanout import Hub

NAME = "provider.v1.Provider"
TRANSPORT = "grpc"
RESULT_BYTES_MAX = 4 * 2**20 - 1024  # a client accepts messages of 4 MiB unless told otherwise: room for what is around it

T = TypeVar("T")


class ResourceRow(Struct, frozen=True):
    """One kind of resource, as it is listed."""

    uri: str
    description: str
    mime_type: str


class PromptRow(Struct, frozen=True):
    """One prompt, as it is listed. args_schema: JSON Schema of its arguments."""

    name: str
    description: str
    args_schema: dict[str, Any]


class Resources(Protocol):
    """What can be read. Raises UnknownName, and what questions raise."""

    def listed(self) -> Sequence[ResourceRow]:
        """In their order."""
        ...

    def read(self, uri: str) -> tuple[bytes, str] | Awaitable[tuple[bytes, str]]:
        """Content and media type."""
        ...


class Prompts(Protocol):
    """What can be asked to be asked. Raises UnknownName, InvalidRequest."""

    def listed(self) -> Sequence[PromptRow]:
        """In their order."""
        ...

    def get(self, name: str, arguments: dict[str, Any]) -> Sequence[tuple[str, str]] | Awaitable[Sequence[tuple[str, str]]]:
        """Role and text of each message."""
        ...


class Nothing:
    """No resources and no prompts."""

    def listed(self) -> Sequence[Any]:
        """None."""
        return ()

    def read(self, uri: str) -> tuple[bytes, str]:
        """None is known."""
        raise UnknownName("resource", uri[:80])

    def get(self, name: str, arguments: dict[str, Any]) -> Sequence[tuple[str, str]]:
        """None is known."""
        raise UnknownName("prompt", name[:80])


class Provider(ProviderServicer):
    """Method names are the contract's."""

    def __init__(self, dispatcher: Dispatcher, hub: Hub, clock: Clock, *, resources: Resources, prompts: Prompts) -> None:
        self._dispatcher = dispatcher
        self._hub = hub
        self._clock = clock
        self._resources = resources
        self._prompts = prompts

    async def ListCapabilities(self, _: Any, context: Context) -> pb.Capabilities:
        """All tools, whatever MCP lists."""
        async with answering(context, "ListCapabilities"):
            return capabilities(self._resources.listed(), self._prompts.listed())

    async def Invoke(self, request: pb.InvokeRequest, context: Context) -> pb.InvokeResponse:
        """One answer as JSON."""
        async with answering(context, "Invoke", request.correlation_id) as call:
            arguments = json_object(request.payload.value, "payload")
            outcome = await self._dispatcher.call(request.tool_name, arguments, transport=TRANSPORT)
            if outcome.failure is not None and outcome.door is not None:
                await call.refuse(outcome.failure, outcome.door)
            assert outcome.tool is not None, "what has no failure has a tool"
            _, data = encoded(outcome.tool, outcome.value, RESULT_BYTES_MAX)
            return pb.InvokeResponse(result=pb.Json(value=data))

    async def ReadResource(self, request: pb.ResourceRequest, context: Context) -> pb.ResourceResponse:
        """Its content now."""
        async with answering(context, "ReadResource", request.correlation_id):
            content, mime_type = await _awaited(self._resources.read(request.uri))
            return pb.ResourceResponse(content=content, mime_type=mime_type)

    async def GetPrompt(self, request: pb.PromptRequest, context: Context) -> pb.PromptResponse:
        """Filled in."""
        async with answering(context, "GetPrompt", request.correlation_id):
            arguments = json_object(request.arguments.value, "arguments")
            if not isinstance(arguments, dict):
                raise InvalidRequest("arguments", f"{type(arguments).__name__}", "an object")
            messages = await _awaited(self._prompts.get(request.prompt_name, arguments))
            return pb.PromptResponse(messages=[pb.PromptMessage(role=role, content=text) for role, text in messages])

    async def Stream(self, request: pb.StreamRequest, context: Context) -> None:
        """Events of one topic."""
        async with answering(context, "Stream") as call:
            desk = self._dispatcher.desk
            if desk is None:
                raise BookNotLive("any symbol", "starting")
            reader = reader_of(self._hub, desk, request.topic)
            try:
                await context.send_initial_metadata(())
                async for event in cloud_events(self._hub, desk, reader, request.topic, self._clock):
                    await context.write(event)
            finally:
                self._hub.leave(reader)
            await call.end(reader.ended)


def capabilities(resources: Sequence[ResourceRow], prompts: Sequence[PromptRow]) -> pb.Capabilities:
    """Tools under the names that gateways expect."""
    return pb.Capabilities(
        tools=[
            pb.Tool(
                name=f"{PREFIXES[0]}{tool.name}",
                description=tool.help,
                input_schema=_json(input_schema(tool.request)),
                output_schema=_json(output_schema(tool.result)),
            )
            for tool in TOOLS
        ],
        resources=[pb.Resource(uri_scheme=row.uri, description=row.description, mime_type=row.mime_type) for row in resources],
        prompts=[pb.Prompt(name=row.name, description=row.description, args_schema=_json(row.args_schema)) for row in prompts],
        provider_version=__version__,
    )


def _json(value: Any) -> pb.Json:
    return pb.Json(value=msgspec.json.encode(value))


async def _awaited(value: T | Awaitable[T]) -> T:
    return await value if inspect.isawaitable(value) else value
