"""MCP on standard input and output: one assistant, the parent process."""

from mcp.server.stdio import stdio_server

from leadline.serve.asking import Asks
from leadline.serve.listing import Offer
from leadline.serve.mcp_server import mcp_server


async def speak(asks: Asks, offer: Offer) -> None:
    """Until standard input ends. What others write to standard output meanwhile goes to standard error."""
    server = mcp_server(asks, offer)
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())
