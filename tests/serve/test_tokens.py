"""Tokens of an authorization server at both doors: made by hand, with keys whose public halves it serves."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from aiohttp import web as served
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.protobuf.empty_pb2 import Empty
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import FakeClock, run
from tests.serve.web import MANY, NOW_NS, Web, web
from tests.service import desks

from leadline.serve.doors import Binds, Doors
from leadline.serve.guard import Rules
from leadline.serve.proto.provider_pb2_grpc import ProviderStub
from leadline.serve.signed_tokens import SignedTokens
from leadline.serve.tokens import OAuth, Tokens

ISSUER, RESOURCE = "https://login.example", "https://books.example/mcp"
NOW_S = NOW_NS // 10**9
CLAIMS: dict[str, Any] = {"iss": ISSUER, "aud": RESOURCE, "exp": NOW_S + 600, "sub": "quant", "scope": "openid read"}
METADATA = "https://books.example/.well-known/oauth-protected-resource/mcp"
RSA = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


def text64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def integer64(number: int) -> str:
    return text64(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def signature(algorithm: str, signed: bytes, key: Any) -> bytes:
    match algorithm:
        case "RS256":
            return key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        case "ES256":
            r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        case "HS256":
            shared = hmac.HMAC(key, hashes.SHA256())
            shared.update(signed)
            return shared.finalize()
        case _:
            return b""


def token(claims: Any = CLAIMS, *, algorithm: str = "RS256", key: Any = RSA, kid: str | None = "r", **header: Any) -> str:
    head = {"alg": algorithm, "typ": "at+jwt", **({} if kid is None else {"kid": kid}), **header}
    signed = ".".join(text64(json.dumps(part).encode()) for part in (head, claims))
    return f"{signed}.{text64(signature(algorithm, signed.encode(), key))}"


def rsa_document(key: Any, kid: str, **more: str) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "kid": kid, "n": integer64(numbers.n), "e": integer64(numbers.e), **more}


def ec_document(kid: str) -> dict[str, str]:
    numbers = EC.public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "kid": kid, "x": integer64(numbers.x), "y": integer64(numbers.y), "alg": "ES256"}


class Issuer:
    """Gives its keys, and counts how often it was asked."""

    def __init__(self) -> None:
        self.keys: Any = [
            *(rsa_document(RSA, "r", use="sig"), rsa_document(RSA, "c", use="enc"), rsa_document(RSA, "l", alg="RS512")),
            *(ec_document("e"), {"kty": "oct", "kid": "s", "k": text64(b"shared")}),
        ]
        self.status, self.asked, self.url = 200, 0, ""

    async def answer(self, _: served.Request) -> served.Response:
        self.asked += 1
        return served.json_response({"keys": self.keys}, status=self.status)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Issuer"]:
        app = served.Application()
        app.router.add_get("/keys", self.answer)
        runner = served.AppRunner(app)
        await runner.setup()
        site = served.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
        try:
            yield self
        finally:
            await runner.cleanup()


def oauth_of(issuer: Issuer, *scopes: str) -> OAuth:
    return OAuth(ISSUER, issuer.url, RESOURCE, scopes)


BAD: dict[str, str] = {
    "no token": "",
    "not three parts": "abc",
    "another's key": token(key=OTHER),
    "a key that is not served": token(kid="x"),
    "a key for secrets": token(kid="c"),
    "a key for longer signatures": token(kid="l"),
    "a key that is a shared secret": token(kid="s"),
    "no signature": token(algorithm="none", key=None),
    "a shared secret of the set": token(algorithm="HS256", key=b"shared", kid="s"),
    "the public key as a shared secret": token(
        algorithm="HS256", key=RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    ),
    "elliptic signature by the RSA key's name": token(algorithm="ES256", key=EC, kid="r"),
    "changed claims": ".".join(
        [token().split(".")[0], text64(json.dumps(CLAIMS | {"sub": "x"}).encode()), token().split(".")[2]]
    ),
    "another issuer": token(CLAIMS | {"iss": "https://evil.example"}),
    "another resource": token(CLAIMS | {"aud": "https://books.example"}),
    "no resource": token({key: value for key, value in CLAIMS.items() if key != "aud"}),
    "no end": token({key: value for key, value in CLAIMS.items() if key != "exp"}),
    "expired": token(CLAIMS | {"exp": NOW_S - 31}),
    "not yet": token(CLAIMS | {"nbf": NOW_S + 31}),
    "an end that is no time": token(CLAIMS | {"exp": "tomorrow"}),
    "claims that are no object": token([1]),
    "too long": token(CLAIMS | {"x": "x" * 9_000}),
}
GOOD: dict[str, str] = {
    "RSA": token(),
    "elliptic": token(algorithm="ES256", key=EC, kid="e"),
    "one of several resources": token(CLAIMS | {"aud": ["https://other.example", RESOURCE]}),
    "just expired": token(CLAIMS | {"exp": NOW_S - 29}),
    "from just now": token(CLAIMS | {"nbf": NOW_S + 29}),
}


@pytest.mark.parametrize("name", [*BAD, *GOOD])
def test_both_doors_let_in_whom_the_issuer_lets_in_and_nobody_else(name: str):
    async def check() -> None:
        async with Issuer().open() as issuer:
            doors = Doors(FakeClock(NOW_NS))
            doors.dispatcher.desk = desks.desk()
            rules = Rules(burst=MANY, oauth=oauth_of(issuer))
            async with doors.open(Binds("127.0.0.1:0", "127.0.0.1:0", rules)):
                bearer = f"Bearer {(BAD | GOOD)[name]}"
                statuses = [await status_of(doors, path, bearer) for path in ("/api/tools", "/mcp", "/sse", "/healthz")]
                async with grpc.aio.insecure_channel(f"127.0.0.1:{doors.grpc_port}") as channel:
                    call = ProviderStub(channel).ListCapabilities(Empty(), metadata=(("authorization", bearer),))
                    code = await call.code()
        if name in GOOD:
            assert statuses[0] == 200
            assert 401 not in statuses
            assert code is grpc.StatusCode.OK
        else:
            assert statuses == [401, 401, 401, 200]
            assert code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}  # the latter: gRPC's own bound

    run(check())


async def status_of(doors: Doors, path: str, bearer: str) -> int:
    """Of the first line alone: a stream would go on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", doors.http_port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\nAccept: text/event-stream\r\n\r\n".encode()
    )
    status = int((await reader.readline()).split()[1])
    writer.close()
    return status


def test_who_is_refused_is_told_where_to_get_a_token():
    async def check() -> None:
        async with Issuer().open() as issuer, oauth_web(issuer, "read", "trade") as client:
            for bearer, status, challenge in (
                ("", 401, f'Bearer resource_metadata="{METADATA}"'),
                ("Bearer abc", 401, f'Bearer error="invalid_token", resource_metadata="{METADATA}"'),
                (
                    f"Bearer {token()}",
                    403,
                    f'Bearer error="insufficient_scope", scope="read trade", resource_metadata="{METADATA}"',
                ),
            ):
                got, headers, told = await client.ask("GET", "/api/tools", headers={"Authorization": bearer})
                assert (got, headers["WWW-Authenticate"]) == (status, challenge)
                assert told.keys() == {"error", "message", "retryable", "fields"}
            enough = {"Authorization": f"Bearer {token(CLAIMS | {'scope': 'trade read'})}"}
            assert (await client.ask("GET", "/api/tools", headers=enough))[0] == 200
            for path in ("/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"):
                assert (await client.ask("GET", path))[::2] == (
                    200,
                    {
                        "resource": RESOURCE,
                        "authorization_servers": [ISSUER],
                        "bearer_methods_supported": ["header"],
                        "scopes_supported": ["read", "trade"],
                    },
                )

    run(check())


@asynccontextmanager
async def oauth_web(issuer: Issuer, *scopes: str, fixed: str = "") -> AsyncIterator[Web]:
    async with web(Rules(token=fixed, burst=MANY, oauth=oauth_of(issuer, *scopes))) as client:
        yield client


def test_the_fixed_token_stays_good_beside_and_needs_no_issuer():
    async def check() -> None:
        async with Issuer().open() as issuer:
            issuer.status = 500
            async with oauth_web(issuer, fixed="secret") as client:
                assert (await client.ask("GET", "/api/tools", headers={"Authorization": "Bearer secret"}))[0] == 200
                assert issuer.asked == 0
                status, _, told = await client.ask("GET", "/api/tools", headers={"Authorization": f"Bearer {token()}"})
                assert (status, told["retryable"]) == (503, True)
                assert "HTTP 500" in told["message"]

    run(check())


def test_keys_are_fetched_once_a_minute_for_names_nobody_knows_and_anew_after_an_hour():
    async def check() -> None:
        clock = FakeClock(NOW_NS)
        long = CLAIMS | {"exp": NOW_S + 10**6}
        async with Issuer().open() as issuer:
            tokens = Tokens(clock, oauth=oauth_of(issuer))

            async def goes(text: str) -> bool:
                return await tokens.refusal(f"Bearer {text}") is None

            assert await asyncio.gather(*(goes(token(long)) for _ in range(20))) == [True] * 20
            assert issuer.asked == 1, "twenty at once ask once"
            new = rsa.generate_private_key(65537, 2048)
            issuer.keys = [rsa_document(new, "n")]
            assert [await goes(token(long, key=new, kid="n")), issuer.asked] == [False, 1]
            clock.now += 60
            assert [await goes(token(long, key=new, kid="n")), issuer.asked] == [True, 2]
            assert not await goes(token(long)), "the old key is gone"
            issuer.status = 500
            clock.now += 3_600
            assert [await goes(token(long, key=new, kid="n")), issuer.asked] == [True, 3]
            assert await goes(token(long, key=new, kid=None)), "the only key needs no name"

    run(check())


@given(st.text(max_size=60) | st.lists(st.binary(max_size=20).map(text64), min_size=3, max_size=3).map(".".join))
def test_whatever_a_stranger_sends_is_refused_and_raises_nothing(text: str):
    tokens = Tokens(FakeClock(NOW_NS), oauth=OAuth(ISSUER, "http://127.0.0.1:1/keys", RESOURCE))
    refusal = asyncio.run(tokens.refusal(f"Bearer {text}"))
    assert refusal is not None
    assert refusal.door.http in {401, 503}


@given(st.dictionaries(st.sampled_from(["exp", "nbf", "iss", "aud", "scope", "scp", "kid"]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
)))  # fmt: skip
def test_claims_of_any_shape_are_judged_and_raise_nothing(claims: Any):
    judge = SignedTokens(OAuth(ISSUER, "http://127.0.0.1:1/keys", RESOURCE, ("read",)), FakeClock(NOW_NS))
    judge._keys._documents, judge._keys._tried = {"r": rsa_document(RSA, "r")}, 0.0
    verdict = asyncio.run(judge.verdict(token(CLAIMS | claims)))
    assert verdict.state in {"good", "bad", "scope_missing"}
