"""The tutorial does what it says, file by file and command by command."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "ten-minutes.md"
FILE = re.compile(r"^\*\*([\w.]+)\*\*\n\n```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
LAST_WORD = """
driftd status loans --json > status.json
"""


def _free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


@pytest.fixture
def tutorial(tmp_path: Path) -> Path:
    """The folder of somebody who has followed the page to its end."""
    text = PAGE.read_text()
    for name, body in FILE.findall(text):
        (tmp_path / name).write_text(body)
    script = "set -eu\n" + "\n".join(COMMANDS.findall(text)) + LAST_WORD
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DRIFTD_HTTP_PORT": _free_port(),
        "SERVICE_PORT": _free_port(),
    }
    said = tmp_path / "said.txt"
    # a group of its own, so that what it leaves running can be ended
    with said.open("wb") as file:
        running = subprocess.Popen(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = running.wait(timeout=170)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGTERM)
    logs = [path.read_text()[-3000:] for path in (said, tmp_path / "driftd.log") if path.exists()]
    assert code == 0, "\n".join(logs)
    return tmp_path


def test_the_tutorial_ends_with_a_better_model_in_service(tutorial: Path) -> None:
    status = json.loads((tutorial / "status.json").read_text())

    assert status["alarms"]["total"] >= 1
    assert status["retrains"]["total"] >= 1
    assert status["promotions"] >= 1
    assert (tutorial / "deployed" / "loans" / "current" / "model.pkl").exists()
    assert status["performance"]["value"] > 0.75, "the world of the last rows is known to the new version"
