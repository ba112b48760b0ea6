"""All settings: one frozen struct, read once; defaults < leadline.toml < environment < flags. Unknown keys are refused.

Each setting exists because an operator needs it, is really read, and has a bound. `leadline config` prints value and origin of
each.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from leadline.core.errors import InvalidRequest

ENV_PREFIX = "LEADLINE_"
ALIASES = {"PERSISTENT_SYMBOLS": "symbols", "ANALYTICS_DATA_PATH": "store.path"}  # names of the specification
IGNORED_ENV = {"LEADLINE_CONFIG", "LEADLINE_CAPTURES"}
CREDENTIALS = ("BINANCE_API_KEY", "BINANCE_API_SECRET")

_DURATION = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


class Store(Struct, frozen=True, forbid_unknown_fields=True):
    """Where records are kept."""

    path: Annotated[str, Meta(description="data folder; flag `--data`; alias `ANALYTICS_DATA_PATH`")] = "./data/analytics"
    cache_mb: Annotated[int, Meta(ge=0, le=65536, description="block cache in MiB; 0: 8 up to 4 symbols, 64 above")] = 0
    write_buffer_mb: Annotated[int, Meta(ge=0, le=1024, description="write buffer in MiB; 0: 1 per 2 symbols, 2 to 16")] = 0
    min_free_mb: Annotated[
        int, Meta(ge=0, description="free space, looked at every 10 minutes, below which the oldest data is cut")
    ] = 512


class Retention(Struct, frozen=True, forbid_unknown_fields=True):
    """What is cut, and when; whichever cuts more."""

    max_age: Annotated[str, Meta(description="age after which a second is cut: `7d`, `36h`, `90m`, `3600s`")] = "7d"
    max_bytes: Annotated[str, Meta(description="size of the store that is not exceeded: `20g`, `500m`")] = "20g"

    @property
    def max_age_s(self) -> int:
        """max_age in seconds."""
        return _amount("retention.max_age", self.max_age, _DURATION)

    @property
    def max_size_bytes(self) -> int:
        """max_bytes as a number."""
        return _amount("retention.max_bytes", self.max_bytes, _SIZE)


class Exchange(Struct, frozen=True, forbid_unknown_fields=True):
    """Where market data comes from."""

    ws_url: Annotated[str, Meta(pattern="^wss?://", description="base of the streams; flag `--ws-url`")] = (
        "wss://data-stream.binance.vision"
    )
    rest_url: Annotated[str, Meta(pattern="^https?://", description="base of REST; flag `--rest-url`")] = (
        "https://data-api.binance.vision"
    )
    tickers: Annotated[bool, Meta(description="subscribe to bookTicker: order flow by event, and the audit of our book")] = True
    reanchor_s: Annotated[int, Meta(ge=60, le=86400, description="seconds between two snapshots beside a live book")] = 3600
    ticks: Annotated[
        Literal["wall", "event"],
        Meta(description="what closes a second: our clock, or the exchange's event time (a recording served at another pace)"),
    ] = "wall"


class Grpc(Struct, frozen=True, forbid_unknown_fields=True):
    """The gRPC door."""

    bind: Annotated[str, Meta(description="HOST:PORT of gRPC, empty: closed; flags `--grpc`, `--port`")] = "127.0.0.1:50053"


class Http(Struct, frozen=True, forbid_unknown_fields=True):
    """The HTTP door."""

    bind: Annotated[str, Meta(description="HOST:PORT of HTTP, empty: closed; flag `--http-port`")] = "127.0.0.1:3001"
    allowed_hosts: Annotated[tuple[str, ...], Meta(description="host names beside loopback under which it answers")] = ()
    allowed_origins: Annotated[tuple[str, ...], Meta(description="origins of pages beside loopback that may call it")] = ()
    public_url: Annotated[
        str, Meta(pattern="^(https?://.+)?$", description="where others reach it, for addresses in answers; empty: http.bind")
    ] = ""


class Mcp(Struct, frozen=True, forbid_unknown_fields=True):
    """What assistants are shown."""

    toolsets: Annotated[
        tuple[Literal["core", "market", "history", "all"], ...],
        Meta(description="sets of tools that are listed; every tool can be called all the same"),
    ] = ("core",)
    max_result_bytes: Annotated[int, Meta(ge=4_000, le=4_000_000, description="an answer is cut to so many bytes of JSON")] = (
        20_000
    )
    legacy_sse: Annotated[bool, Meta(description="serve the older transport at /sse too")] = True
    search_fetch: Annotated[bool, Meta(description="list `search` and `fetch`, for hosts that know no other tools")] = False


_SAFE_URL = r"^(https://.+|http://(127\.0\.0\.1|localhost)[:/].*)?$"


class Auth(Struct, frozen=True, forbid_unknown_fields=True):
    """Who may ask."""

    token: Annotated[
        str,
        Meta(
            description="fixed bearer token of both doors, health aside; without it and `auth.issuer` none is asked for; hidden"
        ),
    ] = ""
    issuer: Annotated[
        str,
        Meta(
            pattern=_SAFE_URL,
            description="OAuth 2.0 authorization server whose tokens both doors take, beside the fixed one; empty: of none",
        ),
    ] = ""
    jwks_url: Annotated[
        str, Meta(pattern=_SAFE_URL, description="where the issuer's public keys are; needed with `auth.issuer`")
    ] = ""
    resource: Annotated[
        str,
        Meta(
            pattern="^(https?://.+)?$",
            description="our address, which a token names in `aud`; empty: `http.public_url` with /mcp behind it",
        ),
    ] = ""
    scopes: Annotated[tuple[str, ...], Meta(description="scopes that a token must have, all of them")] = ()


class Analytics(Struct, frozen=True, forbid_unknown_fields=True):
    """What is remembered between questions."""

    memory_mb: Annotated[
        int,
        Meta(
            ge=32, le=65536, description="MiB for the last days of the symbols that are asked about, 30 each; the least used goes"
        ),
    ] = 256


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    """What is told, and how."""

    format: Annotated[
        Literal["auto", "text", "json"], Meta(description="auto: text on a terminal, one JSON object a line otherwise")
    ] = "auto"
    level: Annotated[Literal["DEBUG", "INFO", "WARN", "ERROR"], Meta(description="least level that is told")] = "INFO"
    snapshot_lines: Annotated[
        Literal["all", "summary", "none"], Meta(description="a line for each stored snapshot, one a minute, or none")
    ] = "all"


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set."""

    symbols: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=32)], ...],
        Meta(min_length=1, max_length=1500, description="symbols to record; flag `--symbols`; alias `PERSISTENT_SYMBOLS`"),
    ] = ("BTCUSDT", "ETHUSDT")
    store: Store = Store()
    retention: Retention = Retention()
    exchange: Exchange = Exchange()
    grpc: Grpc = Grpc()
    http: Http = Http()
    mcp: Mcp = Mcp()
    auth: Auth = Auth()
    analytics: Analytics = Analytics()
    log: Log = Log()


class Loaded(Struct, frozen=True):
    """The settings, and for each key where its value came from. ignored: credentials that were given and are of no use here."""

    settings: Settings
    origins: dict[str, str]
    ignored: tuple[str, ...] = ()


def load(
    flags: Mapping[str, Any] | None = None, *, config: Path | None = None, environ: Mapping[str, str] | None = None
) -> Loaded:
    """Settings from all four sources. flags: by key, None = not given. Raises InvalidRequest with the key."""
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    origins = dict.fromkeys(_keys(), "default")
    for source, found in (
        *_from_file(config or (Path(environ["LEADLINE_CONFIG"]) if "LEADLINE_CONFIG" in environ else None)),
        *_from_environment(environ),
        ("flag", {key: value for key, value in (flags or {}).items() if value is not None}),
    ):
        for key, value in found.items():
            if key not in origins:
                raise InvalidRequest(key, f"no such setting ({source})", ", ".join(origins))
            values[key] = value
            origins[key] = source
    settings = _built(values)
    _ = settings.retention.max_age_s, settings.retention.max_size_bytes
    return Loaded(settings, origins, tuple(name for name in CREDENTIALS if name in environ))


def flat(settings: Settings) -> dict[str, Any]:
    """Every key with its value."""
    return {key: _get(settings, key) for key in _keys()}


def reference() -> list[tuple[str, Any, str]]:
    """(key, default, description) of every setting, in order: what docs/settings.md is made of."""
    rows = []
    for key in _keys():
        owner: Any = Settings
        *sections, name = key.split(".")
        for section in sections:
            owner = _hint(owner, section)
        rows.append((key, _get(Settings(), key), _description(_hint(owner, name))))
    return rows


def _keys() -> list[str]:
    keys: list[str] = []
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.type, type) and issubclass(field.type, Struct):
            keys += [f"{field.name}.{inner.name}" for inner in msgspec.structs.fields(field.type)]
        else:
            keys.append(field.name)
    return keys


def _hint(owner: Any, name: str) -> Any:
    return next(field.type for field in msgspec.structs.fields(owner) if field.name == name)


def _description(hint: Any) -> str:
    info = msgspec.inspect.type_info(hint)
    extra = info.extra_json_schema if isinstance(info, msgspec.inspect.Metadata) else None
    return str((extra or {}).get("description", ""))


def _get(settings: Settings, key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _built(values: dict[str, Any]) -> Settings:
    nested: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    for section, name in (("http", "allowed_hosts"), ("http", "allowed_origins"), ("mcp", "toolsets"), ("auth", "scopes")):
        if isinstance(given := nested.get(section, {}).get(name), str):
            nested[section][name] = [item.strip() for item in given.split(",") if item.strip()]
    if "symbols" in nested:
        nested["symbols"] = _symbols(nested["symbols"])
    try:
        return msgspec.convert(nested, Settings, strict=False)
    except msgspec.ValidationError as error:
        sentence, _, path = str(error).partition(" - at `$.")
        raise InvalidRequest(path.rstrip("`").partition("[")[0] or "settings", sentence) from error


def _symbols(value: Any) -> list[str]:
    """A list, or text with commas; upper-cased once, here; doubles fall away."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise InvalidRequest("symbols", f"not a list of names: {value!r}")
    symbols = list(dict.fromkeys(item.strip().upper() for item in items if item.strip()))
    for symbol in symbols:
        if not symbol.isprintable() or any(c in ":*" or c.isspace() for c in symbol):
            raise InvalidRequest("symbols", f"{symbol!r} cannot be a symbol", "no ':', '*', white space or control character")
    return symbols


def _from_file(path: Path | None) -> list[tuple[str, dict[str, Any]]]:
    place = path or Path("leadline.toml")
    if path is None and not place.exists():
        return []
    try:
        document = tomllib.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequest("config", f"{place}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest("config", f"{place}: {error}") from error
    found: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, dict) and value:
            found |= {f"{name}.{inner}": inner_value for inner, inner_value in value.items()}
        else:
            found[name] = value
    return [(str(place), found)]


def _from_environment(environ: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    names = {ENV_PREFIX + key.replace(".", "_").upper(): key for key in _keys()}
    found = []
    for name, value in sorted(environ.items()):
        if name in ALIASES:
            found.append((name, {ALIASES[name]: value}))
    for name, value in sorted(environ.items()):
        if name.startswith(ENV_PREFIX) and name not in IGNORED_ENV:
            if name not in names:
                raise InvalidRequest(name, "no such setting (environment)", ", ".join(sorted(names)))
            found.append((name, {names[name]: value}))
    return found


def _amount(key: str, text: str, units: Mapping[str, int]) -> int:
    number, unit = (text[:-1], text[-1:].lower()) if text[-1:].lower() in units else (text, "")
    try:
        amount = int(float(number) * units.get(unit, 1))
    except (ValueError, OverflowError):
        amount = 0
    if amount <= 0:
        raise InvalidRequest(key, f"not an amount: {text!r}", "a number with " + ", ".join(units))
    return amount
