"""What a start makes of what it finds: epochs, an outage, a ban."""

import asyncio

from tests.end_to_end.running import SAFETY_S, settings_for, stored, until
from tests.store import samples

from leadline import app
from leadline.service.recorder import Recorder
from leadline.standin.faults import FaultRequest
from leadline.standin.market import SyntheticMarket
from leadline.standin.server import StandIn
from leadline.store.history import History
from leadline.store.memory import MemoryEngine
from leadline.store.sidefile import SideFile

T = 1_723_161_240


def test_epochs_count_on_after_more_than_a_day_without_a_book():
    history = History(MemoryEngine(), "the test's store")
    history.write([samples.row(T, epoch=4)], [samples.incident(T)])  # the incident ends epoch 3
    history.write([samples.row(T + 100_000, epoch=None)])
    assert app.last_epoch(history, "BTCUSDT") == 3
    assert app.last_epoch(history, "ETHUSDT") == 0


def test_a_record_stamped_in_the_future_hides_no_outage(tmp_path):
    history = History(MemoryEngine(), "the test's store")
    history.write([samples.row(T), samples.row(T + 86_400)])
    recorder = Recorder(history)
    app._note_outage(history, recorder, SideFile(tmp_path / "side"), (T + 3600) * 10**9)
    recorder.write_pending()
    (outage,) = history.incidents("*").rows
    assert (outage.kind, outage.start_ms, outage.end_ms) == ("outage", (T + 1) * 1000, (T + 3600) * 1000)


def test_a_ban_told_during_the_start_is_in_the_store_when_the_service_stops(tmp_path, caplog):
    async def main():
        stop = asyncio.Event()
        async with StandIn(SyntheticMarket(1, ["BTCUSDT"], start_ms=T * 1000)) as standin, asyncio.timeout(SAFETY_S):
            standin.fault(FaultRequest(fault="rest.status", status=418, retry_after_s=7200, path="ping"))
            async with asyncio.TaskGroup() as tasks:
                serving = tasks.create_task(app.serve(settings_for(standin, tmp_path / "store", ["BTCUSDT"]), stop))
                await until(lambda: "exchange_unreachable" in caplog.messages or serving.done())
                stop.set()

    asyncio.run(main())
    with stored(tmp_path / "store") as history:
        assert history.meta("banned_until", int) is not None
