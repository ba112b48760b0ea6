"""grpcurl, which learns the messages by reflection."""

import json
from pathlib import Path
from typing import Any

from door_clients.checks import Checks
from door_clients.doors import Doors
from door_clients.grpc_judge import Answered, judge
from door_clients.programs import documents, ran

CODES = {3: "INVALID_ARGUMENT", 5: "NOT_FOUND", 9: "FAILED_PRECONDITION", 13: "INTERNAL", 14: "UNAVAILABLE"}


class Grpcurl:
    def __init__(self, program: Path, address: str) -> None:
        self._command = [program, "-plaintext"]
        self._address = address

    def services(self) -> set[str]:
        return set(ran([*self._command, self._address, "list"]).said.split())

    def ask(self, method: str, message: Any) -> Answered:
        """It writes a failure as JSON: the number of its status, and the sentence."""
        ended = ran([*self._command, "-format-error", "-d", json.dumps(message), self._address, method])
        if ended.status == 0:
            return Answered("OK", ended.json)
        try:
            said = json.loads(ended.complained)
        except ValueError:
            return Answered(f"status {ended.status}", None, ended.complained)
        return Answered(CODES.get(said["code"], str(said["code"])), None, said.get("message", ""))

    def read(self, method: str, message: Any, count: int) -> list[Any]:
        return documents([*self._command, "-d", json.dumps(message), self._address, method], count)


def check(bin_folder: Path, doors: Doors) -> Checks:
    return judge(Grpcurl(bin_folder / "grpcurl", doors.grpc), doors)
