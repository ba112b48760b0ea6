"""Checks with a remedy for each finding: clock, disk, store, exchange, limits, doors. Changes nothing."""

import asyncio
import resource
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from leadline import app
from leadline.config import Settings
from leadline.core.errors import ExchangeError, InvalidRequest, StoreCorrupt, StoreError

CLOCK_OFF_S = 1.0
FILES_MIN = 1024
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class Finding(Struct, frozen=True):
    """level: ok, WARN or FAIL. remedy: what to do, empty if all is well."""

    level: str
    check: str
    what: str
    remedy: str = ""


def run(settings: Settings) -> list[Finding]:
    """All checks, in order."""
    return [
        *_disk(settings),
        *_store(settings),
        *_files(settings),
        *_doors(settings),
        *_exchange(settings),
    ]


def _disk(settings: Settings) -> list[Finding]:
    path = Path(settings.store.path).absolute()
    if path.exists() and not path.is_dir():
        return [Finding("FAIL", "disk", f"store.path {path.name} is not a folder", "give --data a folder")]
    place = next(parent for parent in (path, *path.parents) if parent.is_dir())
    free = shutil.disk_usage(place).free
    wanted = settings.retention.max_size_bytes
    if free < settings.store.min_free_mb * app.MB:
        return [Finding("FAIL", "disk", f"{free // app.MB} MiB free", "free some space, or lower store.min_free_mb")]
    if free < wanted:
        what = f"{free // app.MB} MiB free, less than retention.max_bytes ({wanted // app.MB} MiB)"
        return [Finding("WARN", "disk", what, "lower retention.max_bytes or use another disk: data would be cut early")]
    return [Finding("ok", "disk", f"{free // app.MB} MiB free")]


def _store(settings: Settings) -> list[Finding]:
    path = Path(settings.store.path)
    if path.exists() and not path.is_dir():
        return []  # said by the check of the disk
    if not path.is_dir() or not any(path.iterdir()):
        return [Finding("ok", "store", "none yet; `leadline serve` makes it")]
    try:
        with app.open_reader(path) as history:
            symbols, newest = history.symbols(), history.newest_second()
            lost = app.log_lost(path, history)
            clean = history.meta("clean_shutdown", bool)
    except InvalidRequest as error:
        return [Finding("FAIL", "store", str(error), "give --data a folder that leadline made")]
    except StoreCorrupt as error:
        return [Finding("FAIL", "store", str(error), "stop the service and run `leadline store repair --data DIR`")]
    except StoreError as error:
        return [Finding("FAIL", "store", str(error), "see the sentence before this one")]
    what = f"{len(symbols)} symbols, newest second {newest}"
    if lost:
        return [
            Finding(
                "FAIL",
                "store",
                what + ", but later ones were written",
                "the log is damaged: keep a copy, see `leadline coverage`",
            )
        ]
    return [Finding("ok", "store", what + ("" if clean else ", in use or not closed in order"))]


def _files(settings: Settings) -> list[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES_MIN:
        return [Finding("WARN", "limits", f"{soft} open files allowed", f"`ulimit -n {FILES_MIN}` or LimitNOFILE in the unit")]
    return [Finding("ok", "limits", f"{soft} open files allowed")]


def _doors(settings: Settings) -> list[Finding]:
    """Who may come in: an address that nobody may use, and doors that stand open to more than this machine."""
    found = []
    public = urlsplit(settings.http.public_url).hostname or ""
    if public and public not in {*LOOPBACK, *(host.lower() for host in settings.http.allowed_hosts)}:
        what = f"http.public_url is {settings.http.public_url}, and requests to {public} are refused (421)"
        found.append(Finding("FAIL", "hosts", what, f"add {public} to http.allowed_hosts"))
    binds = {"grpc": settings.grpc.bind, "http": settings.http.bind}
    wide = [f"{name} at {bind}" for name, bind in binds.items() if bind and bind.rpartition(":")[0].strip("[]") not in LOOPBACK]
    if wide and not (settings.auth.token or settings.auth.issuer):
        what = f"{', '.join(wide)}: whoever reaches this machine may ask"
        return [*found, Finding("WARN", "doors", what, "set auth.token or auth.issuer, or bind to 127.0.0.1")]
    told = ", ".join(f"{name} at {bind}" if bind else f"{name} closed" for name, bind in binds.items())
    return [*found, Finding("ok", "doors", told)]


def _exchange(settings: Settings) -> list[Finding]:
    try:
        report = asyncio.run(app.ask_exchange(settings))
    except ExchangeError as error:
        remedy = "check the network and exchange.rest_url" if error.retryable else "see the sentence before this one"
        return [Finding("FAIL", "exchange", str(error), remedy)]
    off = abs(report.clock_ahead_s) >= CLOCK_OFF_S
    findings = [
        Finding(
            "WARN" if off else "ok",
            "clock",
            f"the exchange's clock is {report.clock_ahead_s:+.3f} s from ours",
            "synchronise the clock (NTP): seconds are keyed by it" if off else "",
        ),
        Finding("ok", "exchange", f"{report.origin} answers, {len(report.symbols)} symbols listed"),
        Finding("ok", "weight", f"{report.weight_used} of {report.weight_limit} used in this minute"),
    ]
    if unknown := [symbol for symbol in settings.symbols if symbol not in report.symbols]:
        findings.append(Finding("FAIL", "symbols", f"not listed: {', '.join(unknown)}", "correct the symbols setting"))
    return findings
