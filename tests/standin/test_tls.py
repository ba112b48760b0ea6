"""The TLS port: the same paths, for who trusts its certificate and for nobody else."""

import asyncio
import json
import re
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import websockets
from tests.standin.support import run

from leadline.standin.market import SyntheticMarket
from leadline.standin.server import StandIn

START_MS = 1_767_225_600_000


def _get(url: str, context: ssl.SSLContext) -> bytes:
    with urllib.request.urlopen(url, timeout=10, context=context) as answer:
        return answer.read()


def test_both_ports_serve_the_same_and_the_certificate_holds_for_both_names() -> None:
    async def test() -> None:
        async with StandIn(SyntheticMarket(7, start_ms=START_MS), speed=0, paused=True, tls_port=0) as standin:
            assert standin.certificate_pem is not None
            trusting = ssl.create_default_context(cadata=standin.certificate_pem)
            port = standin.https_url.rpartition(":")[2]
            assert standin.https_url == f"https://127.0.0.1:{port}"
            assert port not in standin.http_url
            for host in ("127.0.0.1", "localhost"):
                body = await asyncio.to_thread(_get, f"https://{host}:{port}/api/v3/time", trusting)
                assert json.loads(body) == {"serverTime": START_MS}
            async with websockets.connect(standin.wss_url + "/stream?streams=btcusdt@depth@100ms", ssl=trusting) as socket:
                await standin.advance(300)
                assert json.loads(await socket.recv())["stream"] == "btcusdt@depth@100ms"
            with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
                await asyncio.to_thread(_get, standin.https_url + "/api/v3/ping", ssl.create_default_context())

    run(test())


def test_without_a_tls_port_there_is_no_certificate() -> None:
    async def test() -> None:
        async with StandIn(SyntheticMarket(7, start_ms=START_MS), paused=True) as standin:
            assert standin.certificate_pem is None

    run(test())


@pytest.mark.parametrize("given", [True, False])
def test_the_command_says_where_tls_and_its_certificate_are_and_takes_limits_and_a_count(given: bool, tmp_path: Path) -> None:
    wanted = tmp_path / "own.pem"
    options = ["--tls-cert", str(wanted)] if given else []
    command = [sys.executable, "-m", "leadline", "standin", "--symbols", "5", "--tls-port", "0", "--limit", "streams=7", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        found = re.fullmatch(
            r"standin listening on (http://127\.0\.0\.1:\d+) origin=synthetic:7 tls=(https://127\.0\.0\.1:\d+) cert=(\S+)\n", line
        )
        assert found, line
        path = Path(found[3])
        assert (path == wanted) is given
        info = json.loads(_get(found[2] + "/api/v3/exchangeInfo", ssl.create_default_context(cafile=path)))
        assert [entry["symbol"] for entry in info["symbols"]] == ["BTCUSDT", "ETHUSDT", "AEBTC", "1INCHUSDT", "币安人生USDT"]
        with urllib.request.urlopen(found[1] + "/_standin/state", timeout=10) as answer:
            assert json.loads(answer.read())["limits"]["streams"] == 7
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=10)
        assert child.returncode == 0
    assert path.exists() is given


@pytest.mark.parametrize("limit", ["streams", "nosuch=3", "streams=many", "streams=-1", "life_s=inf"])
def test_a_limit_that_is_none_is_refused_with_a_sentence(limit: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "leadline", "standin", "--limit", limit], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("leadline: --limit")
