"""Where the recordings are. Data only; they are no part of the project."""

import os
from pathlib import Path

import pytest

BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "captures"


def captures() -> Path:
    """The folder of recordings: LEADLINE_CAPTURES, else beside the checkout. Absent: skipped, but a failure where CI is set."""
    folder = Path(os.environ.get("LEADLINE_CAPTURES") or BESIDE_THE_CHECKOUT)
    if not (folder / "spot").is_dir():
        reason = f"no recordings in {folder}: set LEADLINE_CAPTURES to the folder that holds spot/ and expected/"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder
