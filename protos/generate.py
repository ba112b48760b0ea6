"""Write src/leadline/serve/proto from protos/: messages, services, types, and a copy of the .proto files for the wheel.

    .venv/bin/python protos/generate.py [FOLDER]

The import path follows the file's path, so both mirror the package. Another version of grpcio-tools writes other code: it is
pinned in pyproject.toml, and a test compares what is committed with what this writes.
"""

import shutil
import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
SOURCE = PROTOS.parent / "src"
PACKAGE = Path("leadline/serve/proto")


def generate(out: Path) -> None:
    """Into out/leadline/serve/proto. Raises RuntimeError where a file is not what protoc accepts."""
    folder = out / PACKAGE
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted((PROTOS / PACKAGE).glob("*.proto"))
    well_known = str(resources.files("grpc_tools") / "_proto")
    names = [str(file.relative_to(PROTOS)) for file in files]
    outputs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", f"-I{PROTOS}", f"-I{well_known}", *outputs, *names]):
        raise RuntimeError("protoc refused")
    for file in files:
        shutil.copyfile(file, folder / file.name)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE)
