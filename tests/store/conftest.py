"""Stores to test with: memory and RocksDB behind one fixture."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from leadline.store.engine import Engine
from leadline.store.history import History
from leadline.store.memory import MemoryEngine
from leadline.store.rocks import RocksEngine


@pytest.fixture
def rocks(tmp_path: Path) -> Iterator[RocksEngine]:
    engine = RocksEngine(tmp_path / "db")
    yield engine
    engine.close()


@pytest.fixture(params=["memory", "rocks"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    made: Engine = MemoryEngine() if request.param == "memory" else RocksEngine(tmp_path / "db")
    yield made
    made.close()


@pytest.fixture
def history(engine: Engine) -> History:
    return History(engine, "the test's store")
