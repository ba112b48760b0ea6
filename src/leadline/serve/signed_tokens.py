"""Tokens of an OAuth 2.0 authorization server: JSON Web Tokens (RFC 7519, RFC 9068), verified by its public keys (RFC 7517).

A signature by a public key counts and nothing else: neither `none` nor a shared secret. Keys are fetched when a token names one
that is not known, at most once a minute, and anew after an hour.
"""

import asyncio
import json
from typing import Any, Literal

import aiohttp
import jwt
from msgspec import Struct

from leadline.clock import Clock
from leadline.serve.tokens import OAuth

ALGORITHMS = frozenset(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"])
LEEWAY_S = 30
FETCH_S = 60
FRESH_S = 3_600
TIMEOUT_S = 5
CHECKED: Any = {
    "require": ["exp", "iss", "aud"],
    "verify_exp": False,  # times are told by our clock, below
    "verify_nbf": False,
    "verify_iat": False,
}


class Verdict(Struct, frozen=True):
    """What a token is worth. why: of scope_missing the scopes that are wanted."""

    state: Literal["good", "bad", "scope_missing", "keys_unreachable"]
    why: str = ""


class KeysUnreachable(Exception):
    """The authorization server gave no keys."""


class SignedTokens:
    """Of one issuer, for one resource."""

    def __init__(self, oauth: OAuth, clock: Clock) -> None:
        self._oauth = oauth
        self._clock = clock
        self._keys = Keys(oauth.jwks_url, clock)

    async def verdict(self, token: str) -> Verdict:
        """Never raises for anything that a stranger may send."""
        try:
            header = jwt.get_unverified_header(token)
            key = await self._keys.find(str(header.get("kid", "")), str(header.get("alg", "")))
            if key is None:
                return Verdict("bad", "the token is signed by no key of the issuer")
            said = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._oauth.issuer,
                audience=self._oauth.resource,
                options=CHECKED,
            )
        except KeysUnreachable as error:
            return Verdict("keys_unreachable", f"the issuer's keys cannot be had: {error}")
        except jwt.PyJWTError as error:
            return Verdict("bad", f"the token is not valid: {error}")
        return self._of_claims(said)

    def _of_claims(self, said: dict[str, Any]) -> Verdict:
        now_s = self._clock.wall_ns() / 1e9
        until_s, since_s = said["exp"], said.get("nbf", 0)
        if not (_is_time(until_s) and _is_time(since_s)):
            return Verdict("bad", "the token is not valid: exp, nbf")
        if not since_s - LEEWAY_S <= now_s < until_s + LEEWAY_S:
            return Verdict("bad", "the token has expired or does not hold yet")
        granted = said.get("scope", said.get("scp", ""))
        scopes = granted.split() if isinstance(granted, str) else granted if isinstance(granted, list) else []
        if not set(self._oauth.scopes) <= {scope for scope in scopes if isinstance(scope, str)}:
            return Verdict("scope_missing", " ".join(self._oauth.scopes))
        return Verdict("good")


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Keys:
    """The issuer's public keys, by their id."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._documents: dict[str, dict[str, Any]] = {}
        self._found: dict[tuple[str, str], jwt.PyJWK] = {}
        self._tried: float | None = None
        self._failed = ""
        self._fetching = asyncio.Lock()

    async def find(self, key_id: str, algorithm: str) -> jwt.PyJWK | None:
        """None: no such key, or not for this algorithm. Raises KeysUnreachable where none were ever had."""
        if algorithm not in ALGORITHMS:
            return None
        if self._must_fetch(key_id):
            async with self._fetching:
                if self._must_fetch(key_id):
                    await self._fetch()
        if not self._documents and self._failed:
            raise KeysUnreachable(self._failed)
        if not key_id and len(self._documents) == 1:
            [key_id] = self._documents
        if (key_id, algorithm) not in self._found:
            document = self._documents.get(key_id)
            if document is None or document.get("alg", algorithm) != algorithm or document.get("use", "sig") != "sig":
                return None
            try:
                self._found[key_id, algorithm] = jwt.PyJWK(document, algorithm)
            except jwt.PyJWTError:
                return None
        return self._found[key_id, algorithm]

    def _must_fetch(self, key_id: str) -> bool:
        if self._tried is None:
            return True
        known = key_id in self._documents or (not key_id and len(self._documents) == 1)
        return self._clock.monotonic() - self._tried >= (FRESH_S if known else FETCH_S)

    async def _fetch(self) -> None:
        """What was known stays where nothing new can be had."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
                session.get(self._url, allow_redirects=False) as answer,
            ):
                data = await answer.read()
                if answer.status != 200:
                    raise ValueError(f"HTTP {answer.status}")
            keys = json.loads(data)["keys"]
            documents = {str(key.get("kid", "")): key for key in keys}
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError, AttributeError) as error:
            self._failed = f"{type(error).__name__}: {error}"[:200]
        else:
            self._documents, self._found, self._failed = documents, {}, ""
        self._tried = self._clock.monotonic()
