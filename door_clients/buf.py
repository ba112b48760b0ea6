"""buf curl, which learns the messages by reflection."""

import json
from pathlib import Path
from typing import Any

from door_clients.checks import Checks
from door_clients.doors import Doors
from door_clients.grpc_judge import Answered, judge, original
from door_clients.programs import documents, ran


class Buf:
    def __init__(self, program: Path, address: str) -> None:
        self._command = [program, "curl", "--protocol", "grpc", "--http2-prior-knowledge"]
        self._address = f"http://{address}"

    def services(self) -> set[str]:
        return set(ran([*self._command, "--list-services", self._address]).said.split())

    def ask(self, method: str, message: Any) -> Answered:
        """It writes a failure as JSON: the name of its status, and the sentence."""
        ended = ran([*self._command, "-d", json.dumps(message), f"{self._address}/{method}"])
        if ended.status == 0:
            return Answered("OK", original(ended.json))
        try:
            said = json.loads(ended.complained)
        except ValueError:
            return Answered(f"status {ended.status}", None, ended.complained)
        return Answered(said["code"].upper(), None, said.get("message", ""))

    def read(self, method: str, message: Any, count: int) -> list[Any]:
        found = documents([*self._command, "-d", json.dumps(message), f"{self._address}/{method}"], count)
        return [original(one) for one in found]


def check(bin_folder: Path, doors: Doors) -> Checks:
    return judge(Buf(bin_folder / "buf", doors.grpc), doors)
