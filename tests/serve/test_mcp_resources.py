"""What an assistant is told of an address that is none: the protocol wants it repeated in the error's data."""

import mcp_types as types
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from tests.fakes import run
from tests.serve.web import web


@pytest.mark.parametrize(
    ("uri", "error"),
    [("leadline://docs/nope", "UnknownName"), ("test://nothing", "UnknownName"), ("market://NOPE/book", "UnknownSymbol")],
)
def test_an_address_that_is_none_is_named_beside_the_reason(uri: str, error: str):
    async def check() -> None:
        async with web() as where, Client(f"http://127.0.0.1:{where.doors.http_port}/mcp") as client:
            with pytest.raises(MCPError) as refused:
                await client.read_resource(uri)
            assert refused.value.error.code == types.INVALID_PARAMS
            assert (refused.value.error.data["uri"], refused.value.error.data["error"]) == (uri, error)

    run(check())
