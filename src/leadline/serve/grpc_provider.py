"""provider.v1.Provider, as existing gateways know it: what there is, one call of a tool, resources, prompts, topics."""

from typing import Any

import msgspec

from leadline import __version__
from leadline.clock import Clock
from leadline.core.errors import BookNotLive, InvalidRequest
from leadline.serve.bounded import encoded
from leadline.serve.dispatch import Dispatcher
from leadline.serve.grpc_door import Context, answering, json_object
from leadline.serve.grpc_topics import cloud_events, reader_of
from leadline.serve.prompts import PROMPTS, filled, schema
from leadline.serve.proto import provider_pb2 as pb
from leadline.serve.proto.provider_pb2_grpc import ProviderServicer
from leadline.serve.resources import RESOURCES, read
from leadline.serve.schemas import input_schema, output_schema
from leadline.serve.tools import PREFIXES, TOOLS
from leadline.service.fanout import Hub

NAME = "provider.v1.Provider"
TRANSPORT = "grpc"
RESULT_BYTES_MAX = 4 * 2**20 - 1024  # a client accepts messages of 4 MiB unless told otherwise: room for what is around it


class Provider(ProviderServicer):
    """Method names are the contract's."""

    def __init__(self, dispatcher: Dispatcher, hub: Hub, clock: Clock) -> None:
        self._dispatcher = dispatcher
        self._hub = hub
        self._clock = clock

    async def ListCapabilities(self, _: Any, context: Context) -> pb.Capabilities:
        """All tools, whatever MCP lists."""
        async with answering(context, "ListCapabilities"):
            return capabilities()

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
            found = await read(self._dispatcher, request.uri, transport=TRANSPORT, bytes_max=RESULT_BYTES_MAX)
            return pb.ResourceResponse(content=found.text.encode(), mime_type=found.mime_type)

    async def GetPrompt(self, request: pb.PromptRequest, context: Context) -> pb.PromptResponse:
        """Filled in."""
        async with answering(context, "GetPrompt", request.correlation_id):
            arguments = json_object(request.arguments.value, "arguments")
            if not isinstance(arguments, dict):
                raise InvalidRequest("arguments", f"{type(arguments).__name__}", "an object")
            text = filled(request.prompt_name, arguments)
            return pb.PromptResponse(messages=[pb.PromptMessage(role="user", content=text)])

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


def capabilities() -> pb.Capabilities:
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
        resources=[pb.Resource(uri_scheme=row.uri, description=row.help, mime_type=row.mime_type) for row in RESOURCES],
        prompts=[pb.Prompt(name=row.name, description=row.help, args_schema=_json(schema(row.arguments))) for row in PROMPTS],
        provider_version=__version__,
    )


def _json(value: Any) -> pb.Json:
    return pb.Json(value=msgspec.json.encode(value))
