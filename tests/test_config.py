"""Settings: four sources, one winner, its origin; what is no setting is refused by name."""

import logging
from pathlib import Path
from typing import Any

import pytest

from leadline import cli, config
from leadline.config import Loaded, Settings, flat, load, reference
from leadline.core.errors import InvalidRequest
from leadline.serving import binds_of

SOURCE = Path(config.__file__).parent

# For each key: its values in TOML, environment and flag, each with what it is then.
VALUES: dict[str, list[tuple[Any, Any]]] = {
    "symbols": [(["AUSDT"], ("AUSDT",)), ("BUSDT,CUSDT", ("BUSDT", "CUSDT")), ("DUSDT", ("DUSDT",))],
    "store.path": [("/a", "/a"), ("/b", "/b"), ("/c", "/c")],
    "store.cache_mb": [(1, 1), ("2", 2), (3, 3)],
    "store.write_buffer_mb": [(1, 1), ("2", 2), (3, 3)],
    "store.min_free_mb": [(1, 1), ("2", 2), (3, 3)],
    "retention.max_age": [("1d", "1d"), ("2h", "2h"), ("3m", "3m")],
    "retention.max_bytes": [("1g", "1g"), ("2m", "2m"), ("3t", "3t")],
    "exchange.ws_url": [("ws://a", "ws://a"), ("wss://b", "wss://b"), ("ws://c", "ws://c")],
    "exchange.rest_url": [("http://a", "http://a"), ("https://b", "https://b"), ("http://c", "http://c")],
    "exchange.tickers": [(False, False), ("true", True), (False, False)],
    "exchange.reanchor_s": [(61, 61), ("62", 62), (63, 63)],
    "exchange.ticks": [("event", "event"), ("wall", "wall"), ("event", "event")],
    "grpc.bind": [("a:1", "a:1"), ("b:2", "b:2"), ("", "")],
    "http.bind": [("a:1", "a:1"), ("b:2", "b:2"), ("", "")],
    "http.allowed_hosts": [(["a"], ("a",)), ("a, b", ("a", "b")), (["c"], ("c",))],
    "http.allowed_origins": [(["a"], ("a",)), ("a,b", ("a", "b")), (["c"], ("c",))],
    "http.public_url": [("http://a", "http://a"), ("https://b/c", "https://b/c"), ("", "")],
    "mcp.toolsets": [(["all"], ("all",)), ("core, market", ("core", "market")), (["history"], ("history",))],
    "mcp.max_result_bytes": [(4000, 4000), ("20001", 20_001), (50_000, 50_000)],
    "mcp.legacy_sse": [(False, False), ("true", True), (False, False)],
    "mcp.search_fetch": [(True, True), ("false", False), (True, True)],
    "auth.token": [("a", "a"), ("b", "b"), ("c", "c")],
    "auth.issuer": [("https://a", "https://a"), ("http://localhost:1", "http://localhost:1"), ("", "")],
    "auth.jwks_url": [("https://a", "https://a"), ("http://127.0.0.1/k", "http://127.0.0.1/k"), ("", "")],
    "auth.resource": [("https://a/mcp", "https://a/mcp"), ("http://b", "http://b"), ("", "")],
    "auth.scopes": [(["a"], ("a",)), ("a, b", ("a", "b")), (["c"], ("c",))],
    "analytics.memory_mb": [(64, 64), ("65", 65), (66, 66)],
    "log.format": [("json", "json"), ("text", "text"), ("auto", "auto")],
    "log.level": [("DEBUG", "DEBUG"), ("WARN", "WARN"), ("ERROR", "ERROR")],
    "log.snapshot_lines": [("none", "none"), ("summary", "summary"), ("all", "all")],
}


def toml(folder: Path, text: str) -> Path:
    path = folder / "leadline.toml"
    path.write_text(text, encoding="utf-8")
    return path


def toml_of(folder: Path, key: str, value: Any) -> Path:
    section, _, name = key.rpartition(".")
    words = str(value).lower() if isinstance(value, bool | int) else repr(value)
    return toml(folder, (f"[{section}]\n" if section else "") + f"{name} = {words}\n")


def variable(key: str) -> str:
    return "LEADLINE_" + key.upper().replace(".", "_")


def refused(**sources: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        load(**{"environ": {}, **sources})
    return caught.value


# Sources ---------------------------------------------------------------------------------


def test_the_table_of_this_test_names_every_setting():
    assert list(VALUES) == list(flat(Settings()))


@pytest.mark.parametrize("key", VALUES)
def test_every_key_can_be_set_from_every_source_and_the_nearest_wins(key: str, tmp_path: Path):
    (in_toml, from_toml), (in_env, from_env), (in_flag, from_flag) = VALUES[key]
    path, environ, flags = toml_of(tmp_path, key, in_toml), {variable(key): in_env}, {key: in_flag}

    def loaded(*, file: bool, env: bool, flag: bool) -> tuple[Any, str]:
        found = load(flags if flag else None, config=path if file else None, environ=environ if env else {})
        assert {k for k, origin in found.origins.items() if origin != "default"} <= {key}
        return flat(found.settings)[key], found.origins[key]

    assert loaded(file=False, env=False, flag=False) == (flat(Settings())[key], "default")
    assert loaded(file=True, env=False, flag=False) == (from_toml, str(path))
    assert loaded(file=True, env=True, flag=False) == (from_env, variable(key))
    assert loaded(file=True, env=True, flag=True) == (from_flag, "flag")
    assert loaded(file=False, env=True, flag=False) == (from_env, variable(key))
    assert loaded(file=True, env=False, flag=True) == (from_flag, "flag")


def test_a_flag_that_is_not_given_changes_nothing():
    assert load({"log.level": None}, environ={"LEADLINE_LOG_LEVEL": "DEBUG"}).settings.log.level == "DEBUG"


@pytest.mark.parametrize(("alias", "key"), [("PERSISTENT_SYMBOLS", "symbols"), ("ANALYTICS_DATA_PATH", "store.path")])
def test_the_specifications_names_are_aliases_and_ours_win(alias: str, key: str):
    found = load(environ={alias: "XUSDT"})
    assert (flat(found.settings)[key], found.origins[key]) in [("XUSDT", alias), (("XUSDT",), alias)]
    assert load(environ={alias: "XUSDT", variable(key): "YUSDT"}).origins[key] == variable(key)


def test_the_file_beside_the_caller_is_read_and_a_named_one_instead_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert load(environ={}).origins["log.level"] == "default"
    toml(tmp_path, '[log]\nlevel = "DEBUG"\n')
    assert (load(environ={}).settings.log.level, load(environ={}).origins["log.level"]) == ("DEBUG", "leadline.toml")
    other = tmp_path / "other.toml"
    other.write_text('[log]\nlevel = "ERROR"\n')
    assert load(environ={"LEADLINE_CONFIG": str(other)}).origins["log.level"] == str(other)
    assert load(environ={"LEADLINE_CONFIG": "/nowhere"}, config=other).settings.log.level == "ERROR"


# Refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[store]\npaht = 'x'", "store.paht"),
        ("[stroe]\npath = 'x'", "stroe.path"),
        ("[stroe]", "stroe"),
        ("symbol = ['A']", "symbol"),
        ("store = 5", "store"),
        ("[symbols]\nx = 1", "symbols.x"),
        ("[store.path]\nx = 1", "store.path"),
    ],
)
def test_an_unknown_key_of_the_file_is_refused_with_its_name(tmp_path: Path, text: str, key: str):
    assert refused(config=toml(tmp_path, text)).field == key


def test_an_unknown_key_of_the_environment_or_the_flags_is_refused_with_its_name():
    assert refused(environ={"LEADLINE_STORE_PAHT": "x"}).field == "LEADLINE_STORE_PAHT"
    assert refused(flags={"store.paht": "x"}).field == "store.paht"
    assert load(environ={"LEADLINE_CAPTURES": "x", "STORE_PATH": "x", "PATH": "x"}).origins["store.path"] == "default"


@pytest.mark.parametrize(
    ("text", "why"),
    [(None, "No such file or directory"), ("[log", "Expected"), ("level = \xff", "Invalid")],
)
def test_a_file_that_cannot_be_read_is_refused_with_its_name(tmp_path: Path, text: str | None, why: str):
    path = tmp_path / "leadline.toml" if text is None else toml(tmp_path, text)
    error = refused(config=path)
    assert error.field == "config" and str(path) in error.why and why in error.why


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("store.cache_mb", -1), ("store.cache_mb", 65537), ("store.cache_mb", "many"), ("store.cache_mb", 1.5),
        ("store.write_buffer_mb", 1025), ("store.min_free_mb", -1),
        ("exchange.reanchor_s", 59), ("exchange.reanchor_s", 86401),
        ("exchange.ws_url", "http://x"), ("exchange.rest_url", "ws://x"), ("exchange.rest_url", ""),
        ("exchange.ticks", "none"), ("exchange.tickers", "perhaps"),
        ("log.level", "info"), ("log.format", "xml"), ("log.snapshot_lines", "some"),
        ("symbols", []), ("symbols", ","), ("symbols", ["A" * 33]), ("symbols", [f"S{n}" for n in range(1501)]), ("symbols", 5),
    ],
)  # fmt: skip
def test_a_value_out_of_its_bounds_is_refused_with_its_key(key: str, value: Any):
    assert refused(flags={key: value}).field == key


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7d", 604_800), ("36h", 129_600), ("90m", 5400), ("3600s", 3600), ("3600", 3600), ("1.5H", 5400), ("1s", 1)],
)
def test_an_age_is_read_with_its_unit(text: str, seconds: int):
    assert load({"retention.max_age": text}, environ={}).settings.retention.max_age_s == seconds


@pytest.mark.parametrize(("text", "size"), [("20g", 20 * 2**30), ("500M", 500 * 2**20), ("0.5k", 512), ("1t", 2**40), ("77", 77)])
def test_a_size_is_read_with_its_unit(text: str, size: int):
    assert load({"retention.max_bytes": text}, environ={}).settings.retention.max_size_bytes == size


@pytest.mark.parametrize("key", ["retention.max_age", "retention.max_bytes"])
@pytest.mark.parametrize("text", ["", "0", "0d", "-1d", "7w", "d", "7dd", "inf", "nan", "infd", "1e999g", "seven"])
def test_what_is_no_amount_is_refused(key: str, text: str):
    assert refused(flags={key: text}).field == key


@pytest.mark.parametrize(
    ("given", "symbols"),
    [
        ("btcusdt, ethusdt ,", ("BTCUSDT", "ETHUSDT")),
        ("BTCUSDT,btcusdt", ("BTCUSDT",)),
        ("币安人生USDT,1000SATSUSDT,1INCHBTC", ("币安人生USDT", "1000SATSUSDT", "1INCHBTC")),
    ],
)
def test_symbols_are_upper_cased_once_and_odd_names_are_names(given: str, symbols: tuple[str, ...]):
    assert load({"symbols": given}, environ={}).settings.symbols == symbols
    assert load({"symbols": given.split(",")}, environ={}).settings.symbols == symbols


@pytest.mark.parametrize("given", ["BTC:USDT", "*", "BTC USDT", "BTC\tUSDT", "BTC\x00USDT", "BTC\u200eUSDT", ["BTCUSDT", 5]])
def test_what_cannot_be_a_symbol_is_refused(given: Any):
    assert refused(flags={"symbols": given}).field == "symbols"


# What is read, and what is not -----------------------------------------------------------------


@pytest.mark.parametrize("key", VALUES)
def test_every_setting_is_read_somewhere_else(key: str):
    """`retention.*` are read as amounts."""
    wanted = {"retention.max_age": "retention.max_age_s", "retention.max_bytes": "retention.max_size_bytes"}.get(key, key)
    readers = [p.name for p in SOURCE.rglob("*.py") if p.name != "config.py" and f"settings.{wanted}" in p.read_text()]
    assert readers


def test_every_setting_is_described():
    assert [(key, default) for key, default, _ in reference()] == list(flat(Settings()).items())
    assert all(description for _, _, description in reference())


def test_credentials_are_ignored_with_one_line_that_does_not_tell_them(capsys: pytest.CaptureFixture[str]):
    found = load({"log.format": "text"}, environ={"BINANCE_API_KEY": "s3cret", "BINANCE_API_SECRET": "s3cret"})
    assert "s3cret" not in repr(found)
    told = _told(found, capsys)
    assert len(told) == 1 and "INFO  credentials_ignored names=BINANCE_API_KEY,BINANCE_API_SECRET" in told[0]


def test_without_credentials_nothing_is_said_of_them(capsys: pytest.CaptureFixture[str]):
    assert _told(load({"log.format": "text"}, environ={}), capsys) == []


def _told(found: Loaded, capsys: pytest.CaptureFixture[str]) -> list[str]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        cli._log(found)
    finally:
        root.handlers[:], root.level = before
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("key", ["auth.issuer", "auth.jwks_url"])
@pytest.mark.parametrize("url", ["http://a.example", "http://localhost.evil.example/k", "ftp://a", "a"])
def test_what_decides_who_comes_in_is_not_fetched_in_the_open(key: str, url: str):
    assert refused(flags={key: url}).field == key


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"auth.issuer": "https://a"}, "auth.jwks_url"),
        ({"auth.issuer": "https://a", "auth.jwks_url": "https://a/k"}, "auth.resource"),
    ],
)
def test_an_authorization_server_is_set_whole(given: dict[str, str], field: str):
    settings = load(given, environ={}).settings
    with pytest.raises(InvalidRequest) as caught:
        binds_of(settings)
    assert caught.value.field == field


def test_the_resource_of_tokens_is_where_assistants_reach_us():
    flags = {"auth.issuer": "https://a", "auth.jwks_url": "https://a/k", "auth.scopes": "x, y"}
    for more, resource in (
        ({"http.public_url": "https://books.example/"}, "https://books.example/mcp"),
        ({"http.public_url": "https://books.example", "auth.resource": "https://other.example"}, "https://other.example"),
    ):
        oauth = binds_of(load({**flags, **more}, environ={}).settings).rules.oauth
        assert oauth is not None
        assert (oauth.issuer, oauth.jwks_url, oauth.resource, oauth.scopes) == ("https://a", "https://a/k", resource, ("x", "y"))
    assert binds_of(load({}, environ={}).settings).rules.oauth is None
