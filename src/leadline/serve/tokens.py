"""Who may ask: whoever has the fixed bearer token or one of an OAuth 2.0 authorization server; anybody, where neither is set."""

import hmac
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from leadline.clock import Clock
from leadline.serve.errors import Door

if TYPE_CHECKING:
    from leadline.serve.signed_tokens import SignedTokens

METADATA = "/.well-known/oauth-protected-resource"
TOKEN_MAX = 8_192  # characters


class OAuth(Struct, frozen=True):
    """What a resource server knows of its authorization server.

    resource: our own address, which a token must name in `aud` (RFC 8707). scopes: a token must have them all.
    """

    issuer: str
    jwks_url: str
    resource: str
    scopes: tuple[str, ...] = ()


class Refusal(Struct, frozen=True):
    """Why somebody does not come in. challenge: the WWW-Authenticate header, empty: none."""

    door: Door
    error: str
    message: str
    challenge: str = ""


class Tokens:
    """One for all doors."""

    def __init__(self, clock: Clock, fixed: str = "", oauth: OAuth | None = None) -> None:
        self._fixed = fixed.encode()
        self._signed = None if oauth is None else _signed(oauth, clock)
        self._metadata = "" if oauth is None else _metadata_url(oauth.resource)

    @property
    def asked(self) -> bool:
        """Whether a token is asked for."""
        return bool(self._fixed) or self._signed is not None

    async def refusal(self, authorization: str) -> Refusal | None:
        """Of the one who sends this header; None: come in."""
        if not self.asked:
            return None
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or not 0 < len(token) <= TOKEN_MAX:
            return self._no("token missing or wrong", "")
        if hmac.compare_digest(token.encode(), self._fixed):
            return None
        if self._signed is None:
            return self._no("token missing or wrong", "")
        verdict = await self._signed.verdict(token)
        match verdict.state:
            case "good":
                return None
            case "keys_unreachable":
                return Refusal(Door("UNAVAILABLE", 503, ()), "Unreachable", verdict.why)
            case "scope_missing":
                challenge = self._challenge('error="insufficient_scope"', f'scope="{verdict.why}"')
                return Refusal(
                    Door("PERMISSION_DENIED", 403, ()), "InsufficientScope", f"the token lacks a scope: {verdict.why}", challenge
                )
            case _:
                return self._no(verdict.why, 'error="invalid_token"')

    def _no(self, why: str, error: str) -> Refusal:
        return Refusal(Door("UNAUTHENTICATED", 401, ()), "Unauthenticated", why, self._challenge(error))

    def _challenge(self, *parts: str) -> str:
        where = f'resource_metadata="{self._metadata}"' if self._metadata else ""
        said = ", ".join(part for part in (*parts, where) if part)
        return f"Bearer {said}".rstrip()


def metadata_routes(oauth: OAuth | None) -> list[BaseRoute]:
    """Where an assistant's host learns whom to ask for a token (RFC 9728)."""
    if oauth is None:
        return []
    said: dict[str, Any] = {
        "resource": oauth.resource,
        "authorization_servers": [oauth.issuer],
        "bearer_methods_supported": ["header"],
        **({"scopes_supported": list(oauth.scopes)} if oauth.scopes else {}),
    }

    async def metadata(_: Request) -> JSONResponse:
        return JSONResponse(said)

    return [Route(METADATA, metadata), Route(METADATA + urlsplit(oauth.resource).path.rstrip("/"), metadata)]


def _metadata_url(resource: str) -> str:
    parts = urlsplit(resource)
    return f"{parts.scheme}://{parts.netloc}{METADATA}{parts.path.rstrip('/')}"


def _signed(oauth: OAuth, clock: Clock) -> "SignedTokens":
    from leadline.serve.signed_tokens import SignedTokens

    return SignedTokens(oauth, clock)
