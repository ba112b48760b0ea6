"""The command line. Bodies import what they need, so that `--help` is quick; results go to stdout, all else to stderr.

Exit codes: 0 done, 1 our bug, 2 a wrong request, 3 unknown symbol, 4 not ready or rate limited, 5 exchange, 6 store.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from leadline.core.errors import InvalidRequest, LeadlineError

if TYPE_CHECKING:
    from leadline.config import Loaded
    from leadline.service.feed import Feed

SAME_SIGNAL_S = 1.0  # `timeout` and shells send one signal to the process and once more to its group
SWITCH_S = 0.0005
UNIX_S_MAX = 1e10  # 2286-11-20, the last second a store can hold; more is most likely milliseconds


class _Commands(TyperGroup):
    """A reader of our output that has seen enough (`| head -1`) ends a command quietly."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run it, and see that its output was taken."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit fails again, aloud
            raise typer.Exit(0) from None
        return result


app = typer.Typer(
    name="leadline",
    cls=_Commands,
    help=(
        "Live order books of Binance symbols, recorded every second with every trade.\n\n"
        "Exit codes: 0 done, 1 our bug, 2 a wrong request, 3 unknown symbol, 4 not ready or rate limited, 5 exchange, 6 store."
    ),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
store_app = typer.Typer(help="Look after a store.", no_args_is_help=True)
app.add_typer(store_app, name="store")
plot_app = typer.Typer(
    help="Pictures of stored data, for people. Needs matplotlib: pip install 'leadline[plot]'.", no_args_is_help=True
)
app.add_typer(plot_app, name="plot")

Data = Annotated[Path | None, typer.Option("--data", help="Data folder (setting store.path).")]
Config = Annotated[Path | None, typer.Option("--config", help="A leadline.toml.")]
Symbols = Annotated[str | None, typer.Option("--symbols", help="Comma-separated (setting symbols).")]
RestUrl = Annotated[str | None, typer.Option("--rest-url", help="Base of REST (setting exchange.rest_url).")]
WsUrl = Annotated[str | None, typer.Option("--ws-url", help="Base of the streams (setting exchange.ws_url).")]
LogLevel = Annotated[str | None, typer.Option("--log-level", help="DEBUG, INFO, WARN or ERROR (setting log.level).")]
From = Annotated[str | None, typer.Option("--from", help="First moment: unix seconds or ISO 8601 (UTC if no zone is given).")]
To = Annotated[str | None, typer.Option("--to", help="First moment that is not wanted.")]
Symbol = Annotated[str, typer.Argument(help="Symbol.")]
Out = Annotated[Path, typer.Option("--out", help="The file to write: .png, .svg or .pdf; one that exists is replaced.")]
Form = Annotated[str | None, typer.Option("--format", help="table or json; default: table on a terminal.")]


def main() -> None:
    """Entry point: errors that somebody must act on become one line and an exit code."""
    try:
        app()
    except LeadlineError as error:
        typer.echo(f"leadline: {error}", err=True)
        sys.exit(error.exit_code)


# Recording -------------------------------------------------------------------


@app.command()
def serve(
    symbols: Symbols = None,
    data: Data = None,
    rest_url: RestUrl = None,
    ws_url: WsUrl = None,
    config: Config = None,
    log_level: LogLevel = None,
    grpc: Annotated[bool, typer.Option("--grpc/--no-grpc", help="Open the gRPC door (setting grpc.bind).")] = True,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of gRPC on loopback (setting grpc.bind).")] = None,
    http_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port of HTTP on loopback (setting http.bind).")] = None,
) -> None:
    """Record live books and trades, and answer by gRPC and HTTP, until stopped (Ctrl-C or SIGTERM)."""
    import asyncio

    from leadline import serving

    doors = {
        "grpc.bind": "" if not grpc else None if port is None else f"127.0.0.1:{port}",
        "http.bind": None if http_port is None else f"127.0.0.1:{http_port}",
    }
    loaded = _settings(config, symbols, data, rest_url, ws_url, log_level, **doors)
    _log(loaded)
    asyncio.run(_until_signalled(lambda stop: serving.serve(loaded.settings, stop, started=_settle)))


@app.command()
def mcp(
    url: Annotated[str | None, typer.Option("--url", help="The running service (setting http.bind).")] = None,
    standalone: Annotated[bool, typer.Option("--standalone", help="Run feeds and store here, ask no service.")] = False,
    symbols: Symbols = None,
    data: Data = None,
    rest_url: RestUrl = None,
    ws_url: WsUrl = None,
    config: Config = None,
    log_level: LogLevel = "WARN",
) -> None:
    """Answer one assistant on standard input and output (MCP). Asks a running `leadline serve`."""
    import asyncio

    from leadline import assistant
    from leadline.serve.listing import Offer

    loaded = _settings(config, symbols, data, rest_url, ws_url, log_level)
    _log(loaded)
    settings = loaded.settings
    url = url or f"http://{settings.http.bind}"
    public_url = (settings.http.public_url or url) if settings.mcp.search_fetch else ""
    offer = Offer(settings.mcp.toolsets, settings.mcp.max_result_bytes, public_url)
    if standalone:
        asyncio.run(_until_signalled(lambda stop: assistant.standalone(settings, offer, stop)))
    else:
        asyncio.run(assistant.over_service(url, offer, settings.auth.token))


@app.command()
def demo(
    data: Annotated[Path, typer.Option(help="Data folder.")] = Path("data/demo"),
    for_s: Annotated[float | None, typer.Option("--for", min=0, help="Stop after this many seconds.")] = None,
    symbols: Annotated[str, typer.Option(help="Comma-separated.")] = "BTCUSDT,ETHUSDT",
    seed: Annotated[int, typer.Option(help="Seed of the market; one folder holds data of one seed.")] = 7,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of gRPC; 0: any free one, printed.")] = 50053,
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of HTTP and MCP; 0: any free one, printed.")] = 3001,
    log_level: LogLevel = "WARN",
) -> None:
    """Record a synthetic market and answer about it, without internet or account: stand-in and service in one go."""
    import asyncio

    from leadline import demo as show

    _log(_settings(None, symbols, data, None, None, log_level))
    how: dict[str, Any] = {"data": data, "symbols": symbols, "seed": seed, "for_s": for_s}
    how |= {"grpc_bind": f"127.0.0.1:{port}", "http_bind": f"127.0.0.1:{http_port}"}
    asyncio.run(_until_signalled(lambda stop: show.run(stop, **how)))


@app.command()
def replay(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings: one continued, or the parts of one.")],
    data: Annotated[Path, typer.Option("--data", help="Data folder.")],
    summary: Annotated[Path | None, typer.Option(help="Write what was replayed to this JSON file.")] = None,
    log_level: LogLevel = "ERROR",
) -> None:
    """Run recordings through the whole path as fast as it goes, by the recording's own clock."""
    import msgspec

    from leadline import app as house

    loaded = _settings(None, None, data, None, None, log_level)
    _log(loaded)
    recording = house.open_recording(files)
    with _progress("replay", recording.bytes_total) as advance:
        run = house.replay(recording, loaded.settings, data, progress=advance)
    if summary is not None:
        body = {"symbols": {symbol: _summary(feed) for symbol, feed in sorted(run.feeds.items())}}
        try:
            summary.write_bytes(msgspec.json.format(msgspec.json.encode(body)) + b"\n")
        except OSError as error:
            raise InvalidRequest("--summary", f"{summary}: {error.strerror}") from error
    for symbol, feed in sorted(run.feeds.items()):
        typer.echo(f"{symbol}: {feed.snapshots_taken} snapshots, {feed.fills} trades, {feed.gaps} gaps", err=True)
    if recording.malformed:
        typer.echo(f"leadline: {recording.malformed} malformed messages were passed over", err=True)
    if recording.errors:
        typer.echo("leadline: what came before the damage is stored", err=True)
        raise recording.errors[0]


@app.command()
def standin(
    replay_files: Annotated[
        list[Path] | None,
        typer.Option("--replay", metavar="FILE", help="Serve these recordings (repeatable)."),
    ] = None,
    more: Annotated[list[Path] | None, typer.Argument(metavar="[FILE...]", help="More files of the recording.")] = None,
    symbols: Annotated[
        str | None,
        typer.Option(help="Symbols of the market, comma-separated, or how many of a built-in list; default: BTCUSDT,ETHUSDT."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the market; default: 7.")] = None,
    script: Annotated[Path | None, typer.Option(metavar="FILE", help="Faults by virtual time, as TOML.")] = None,
    fault: Annotated[
        list[str] | None, typer.Option(metavar="'NAME KEY=VALUE...'", help="One fault; at=12: after 12 s (repeatable).")
    ] = None,
    speed: Annotated[float, typer.Option(min=0, help="1: real time; n: n times faster; 0: as fast as it is read.")] = 1.0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one, printed.")] = 0,
    tls_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="A second port, with TLS; 0: any free one, printed.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Write the certificate of the TLS port here; default: a file that is removed at the end.")
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Change a limit of the exchange; 0: off (repeatable).")
    ] = None,
    v1_gone: Annotated[bool, typer.Option("--v1-gone", help="Answer 410 under /api/v1, as the exchange does now.")] = False,
    hold: Annotated[bool, typer.Option(help="Stop at each recorded snapshot until POST /_standin/resume.")] = False,
    loop: Annotated[bool, typer.Option(help="Begin again at the end of the recording, on new connections.")] = False,
    attached: Annotated[bool, typer.Option("--attached", help="End when standard input ends.")] = False,
    log_level: LogLevel = "WARN",
) -> None:
    """Serve a recording, or a synthetic market, in the exchange's protocol on loopback."""
    import math

    from leadline.clock import SystemClock
    from leadline.standin import faults, limits, market, server
    from leadline.standin import names as listed
    from leadline.standin import replay as recorded
    from leadline.standin import script as scripts

    _log(_settings(None, None, None, None, None, log_level))
    if not math.isfinite(speed):
        raise InvalidRequest("--speed", f"{speed}", "a number")
    try:
        if tls_cert is not None:
            tls_cert.touch()
    except OSError as error:
        raise InvalidRequest("--tls-cert", f"cannot write {tls_cert}: {error.strerror}") from error
    try:
        wanted = scripts.scenario(script.read_text(encoding="utf-8")) if script else scripts.Scenario()
    except (scripts.NotAScript, UnicodeDecodeError, OSError) as error:
        raise InvalidRequest("--script", f"{script}: {error}") from error
    try:
        entries = [*wanted.entries, *(scripts.command_line(words) for words in fault or ())]
    except scripts.NotAScript as error:
        raise InvalidRequest("--fault", str(error)) from error
    files = [*(replay_files or []), *(more or [])]
    if files:
        try:
            source: Any = recorded.Recording(files)
        except (ValueError, OSError) as error:
            raise InvalidRequest("--replay", str(error)) from error
    else:
        given = (symbols or ",".join(wanted.symbols or market.DEFAULT_SYMBOLS)).strip()
        names = listed.names(int(given)) if given.isdecimal() else [name.strip().upper() for name in given.split(",")]
        if not all(names):
            raise InvalidRequest("--symbols", f"{symbols!r}", "names, or how many")
        start_ms = wanted.start_ms if wanted.start_ms is not None else SystemClock().wall_ns() // 1_000_000
        chosen = seed if seed is not None else wanted.seed if wanted.seed is not None else 7
        source = market.SyntheticMarket(chosen, names, start_ms=start_ms)
    try:
        enforced = limits.parse(limit or ())
    except limits.NoSuchLimit as error:
        raise InvalidRequest("--limit", str(error)) from error
    try:
        standin = server.StandIn(
            source,
            host=host,
            port=port,
            tls_port=tls_port,
            speed=speed,
            hold=hold,
            at_end="loop" if loop else "stay",
            v1_gone=v1_gone,
            limits=enforced,
            script=entries,
        )
    except faults.UnknownFault as error:
        raise InvalidRequest("--script, --fault", str(error)) from error
    try:
        server.run(standin, attached=attached, certificate=tls_cert)
    except OSError as error:
        raise InvalidRequest("--port", f"cannot listen on {host}:{port}: {error.strerror}") from error


# Reading ---------------------------------------------------------------------


@app.command()
def export(
    what: Annotated[str, typer.Option(help="snapshots, seconds, trades or incidents.")],
    symbol: Annotated[str, typer.Option(help="Symbol; * for incidents of the whole service.")],
    data: Data = None,
    start: Annotated[str | None, typer.Option("--from", help="First moment; unix seconds or ISO 8601.")] = None,
    end: To = None,
    form: Annotated[str, typer.Option("--format", help="csv or jsonl.")] = "csv",
) -> None:
    """Write stored records to stdout."""
    from leadline import app as house
    from leadline import export as exporting

    exporting.check(what, form)
    with house.open_reader(_path(data)) as history:
        name = _known(history, symbol, service=what == "incidents")
        with _progress("export", None) as advance:
            exporting.write(
                history,
                what,
                name,
                start_s=_moment("--from", start),
                end_s=_moment("--to", end),
                form=form,
                out=sys.stdout,
                advance=advance,
            )


@app.command()
def book(
    symbol: Annotated[str, typer.Argument(help="Symbol.")],
    data: Data = None,
    levels: Annotated[int, typer.Option(min=1, max=20, help="Levels a side.")] = 10,
    form: Form = None,
) -> None:
    """The latest stored snapshot of a symbol and its age."""
    from leadline import app as house
    from leadline import show

    with house.open_reader(_path(data)) as history:
        show.book(history, _known(history, symbol), levels, _form(form))


@app.command()
def watch(
    symbol: Symbol,
    depth: Annotated[int, typer.Option(min=1, max=1000, help="Levels a side.")] = 10,
    url: Annotated[str | None, typer.Option("--url", help="HOST:PORT of a service's gRPC (setting grpc.bind).")] = None,
    for_s: Annotated[float | None, typer.Option("--for", min=0, help="Stop after this many seconds.")] = None,
    form: Form = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    config: Config = None,
) -> None:
    """The live book and trades of a running service, until stopped; JSON lines in a pipe."""
    import asyncio

    from leadline import watch as watching

    settings = _settings(config, None, None, None, None, None).settings
    how: dict[str, Any] = {"target": watching.target_of(url, settings.grpc.bind), "token": settings.auth.token}
    how |= {"symbol": symbol, "depth": depth, "for_s": for_s, "form": "json" if as_json else _form(form)}
    asyncio.run(_until_signalled(lambda stop: watching.run(stop, **how)))


@app.command()
def tools(form: Form = None) -> None:
    """Every question that can be asked: what it takes (* required) and what it says."""
    from leadline import calling

    calling.listing(_form(form))


def _complete_tool(incomplete: str) -> list[str]:
    from leadline import calling

    return calling.tools_like(incomplete)


def _complete_argument(ctx: typer.Context, incomplete: str) -> list[str]:
    from leadline import calling

    return calling.words_like(str(ctx.params.get("tool") or ""), incomplete)


@app.command()
def call(
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="A tool of `leadline tools`.", autocompletion=_complete_tool)],
    given: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE...]", help="What it takes.", autocompletion=_complete_argument),
    ] = None,
    data: Data = None,
    url: Annotated[str | None, typer.Option("--url", help="Ask a running service there instead of the store.")] = None,
    form: Form = None,
) -> None:
    """Ask one question of a store, or of a running service."""
    from leadline import calling
    from leadline.serve.errors import Failed

    arguments = calling.arguments(given or [])
    try:
        settings = _settings(None, None, data, None, None, None).settings
        if url:
            answer = calling.over_service(url, tool, arguments, settings.auth.token)
        else:
            answer = calling.over_store(Path(settings.store.path), tool, arguments)
    except Failed as failed:
        typer.echo(f"leadline: {failed}", err=True)
        raise typer.Exit(failed.exit_code) from None
    calling.show(answer, _form(form))


@app.command()
def coverage(
    data: Data = None,
    symbol: Annotated[str | None, typer.Option(help="Only this symbol.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Unix seconds or ISO 8601; default: the first stored second.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Default: the last stored second, included.")] = None,
    form: Form = None,
) -> None:
    """Seconds present and missing per symbol, and why they are missing."""
    from leadline import app as house
    from leadline import show

    with house.open_reader(_path(data)) as history:
        names = [_known(history, symbol)] if symbol else history.symbols()
        show.coverage(history, names, _moment("--from", start), _moment("--to", end), _form(form))


@plot_app.command("profile")
def plot_profile(
    symbol: Symbol,
    out: Out,
    data: Data = None,
    hours: Annotated[int, typer.Option(min=1, max=168, help="Hours back from the newest second.")] = 24,
) -> None:
    """Where trading happened: volume by price, point of control, value area, and the way of the mid."""
    from leadline import app as house
    from leadline import plot

    plot.check(out)
    with house.open_reader(_path(data)) as history:
        plot.profile(history, _known(history, symbol), hours, out)


@plot_app.command("flow")
def plot_flow(symbol: Symbol, out: Out, data: Data = None, start: From = None, end: To = None) -> None:
    """Who pressed: mid, pressure at the best prices and volume delta; default: the last ten minutes stored, at most a day."""
    from leadline import app as house
    from leadline import plot

    plot.check(out)
    with house.open_reader(_path(data)) as history:
        plot.flow(history, _known(history, symbol), _moment("--from", start), _moment("--to", end), out)


@plot_app.command("depth")
def plot_depth(symbol: Symbol, out: Out, data: Data = None, start: From = None, end: To = None) -> None:
    """How much rests: the window's newest snapshot, and 10 bps over it; default: the last ten minutes stored, at most a day."""
    from leadline import app as house
    from leadline import plot

    plot.check(out)
    with house.open_reader(_path(data)) as history:
        plot.depth(history, _known(history, symbol), _moment("--from", start), _moment("--to", end), out)


@app.command()
def doctor(data: Data = None, rest_url: RestUrl = None, config: Config = None) -> None:
    """Check clock, disk, store, exchange and limits; say what to do about each finding."""
    from leadline import doctor as checks

    loaded = _settings(config, None, data, rest_url, None, None)
    findings = checks.run(loaded.settings)
    for finding in findings:
        typer.echo(f"{finding.level:<5} {finding.check}: {finding.what}")
        if finding.remedy:
            typer.echo(f"      -> {finding.remedy}")
    if any(finding.level == "FAIL" for finding in findings):
        raise typer.Exit(1)


@app.command("config")
def show_config(
    symbols: Symbols = None,
    data: Data = None,
    rest_url: RestUrl = None,
    ws_url: WsUrl = None,
    config: Config = None,
    log_level: LogLevel = None,
) -> None:
    """Print each setting, its value and where it came from."""
    from leadline.config import flat

    loaded = _settings(config, symbols, data, rest_url, ws_url, log_level)
    for key, value in flat(loaded.settings).items():
        text = ",".join(value) if isinstance(value, tuple) else str(value).lower() if isinstance(value, bool) else value
        if key == "auth.token" and value:
            text = "(set)"
        typer.echo(f"{key} = {text}  ({loaded.origins[key]})")


@app.command()
def version() -> None:
    """Print the version."""
    from leadline import __version__

    typer.echo(__version__)


@store_app.command()
def stats(data: Data = None) -> None:
    """Size, symbols and span of a store."""
    from leadline import app as house
    from leadline import show

    with house.open_reader(_path(data)) as history:
        show.stats(history)


@store_app.command()
def repair(data: Data = None) -> None:
    """Mend a damaged store: copy it first, then let the engine rebuild what it can."""
    from leadline.store.rocks import RocksEngine

    copy = RocksEngine.repair(_path(data))
    typer.echo(f"repaired; the folder as it was is kept at {copy}")


# Helpers ---------------------------------------------------------------------


def _settings(
    config: Path | None,
    symbols: str | None,
    data: Path | None,
    rest_url: str | None,
    ws_url: str | None,
    log_level: str | None,
    **more: str | None,
) -> "Loaded":
    from leadline.config import load

    flags = {
        "symbols": symbols,
        "store.path": None if data is None else str(data),
        "exchange.rest_url": rest_url,
        "exchange.ws_url": ws_url,
        "log.level": log_level,
        **more,
    }
    return load(flags, config=config)


def _log(loaded: "Loaded") -> None:
    import logging

    from leadline import logs

    logs.setup(loaded.settings.log.level, loaded.settings.log.format)
    if loaded.ignored:  # read-only: there is no account, and no key is ever sent
        logging.getLogger("leadline.config").info("credentials_ignored", extra={"names": ",".join(loaded.ignored)})


def _path(data: Path | None) -> Path:
    return Path(_settings(None, None, data, None, None, None).settings.store.path)


def _form(form: str | None) -> str:
    if form not in {None, "table", "json"}:
        raise InvalidRequest("--format", f"{form!r}", "table, json")
    return form or ("table" if sys.stdout.isatty() else "json")


def _known(history: Any, symbol: str, *, service: bool = False) -> str:
    """The symbol as stored; `*`, the whole service, where it has something to say. Raises UnknownSymbol with near matches."""
    import difflib

    from leadline.core.errors import UnknownSymbol

    name = symbol.strip().upper()
    symbols = history.symbols()
    if name not in symbols and not (service and name == "*"):
        raise UnknownSymbol(name, difflib.get_close_matches(name, symbols, n=5, cutoff=0.4) or symbols[:5], "in this store")
    return name


def _moment(field: str, text: str | None) -> float | None:
    """Unix seconds of a moment given as such or as ISO 8601; UTC if no zone is given."""
    import datetime

    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            raise InvalidRequest(field, f"not a time: {text!r}", "unix seconds or ISO 8601") from None
        return (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    if not abs(seconds) < UNIX_S_MAX:
        raise InvalidRequest(field, f"not a time: {text!r}", "unix seconds (not milliseconds) or ISO 8601")
    return seconds


def _summary(feed: "Feed") -> dict[str, Any]:
    from leadline.core.units import decimal_text

    sync, book = feed.sync, feed.sync.book

    def level(found: tuple[int, int] | None) -> list[str] | None:
        return None if found is None else [decimal_text(found[0]), decimal_text(found[1])]

    return {
        "snapshot_update_id": sync.snapshot_update_id,
        "events_dropped": sync.events_dropped,
        "events_applied": sync.events_applied,
        "first_applied": list(sync.first_applied) if sync.first_applied else None,
        "gaps": feed.gaps,
        "final_update_id": book.update_id if book else None,
        "final_levels": [len(book.bids.keys), len(book.asks.keys)] if book else None,
        "final_bid": level(book.best_bid) if book else None,
        "final_ask": level(book.best_ask) if book else None,
        "seconds": feed.snapshots_taken,
        "trades": feed.fills,
    }


def _settle(_: Any) -> None:
    """What start made stays; the collector need not look at it again, nor after every few hundred messages. And a socket that
    may be read does not wait 5 ms for the writer's thread, as Python has it: an answer takes many such turns.
    """
    import gc

    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _until_signalled(work: Any) -> None:
    """Run `work(stop)`; the first SIGINT, SIGTERM or SIGHUP sets stop, the second ends the process at once."""
    import asyncio
    import os
    import signal

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    first_at = 0.0

    def signalled() -> None:
        nonlocal first_at
        if not stop.is_set():
            first_at = loop.time()
            stop.set()
        elif loop.time() - first_at > SAME_SIGNAL_S:
            os._exit(130)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, signalled)
    try:
        await work(stop)
    except ExceptionGroup as group:
        found = group
        while isinstance(found, ExceptionGroup) and len(found.exceptions) == 1:
            found = found.exceptions[0]
        raise found from group


class _progress:
    """A bar on stderr, on a terminal only. total None: a counter."""

    def __init__(self, title: str, total: int | None) -> None:
        self._title, self._total = title, total

    def __enter__(self) -> Any:
        if not sys.stderr.isatty():
            return lambda done: None
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._bar.start()
        task = self._bar.add_task(self._title, total=self._total)
        return lambda done: self._bar.update(task, completed=done)

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_bar"):
            self._bar.stop()
