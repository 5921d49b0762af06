"""What the daemon does with a process of alibi-detect that crashes, hangs, lies or is not there."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from daemon.alibi.bridge import SAVED_SECONDS, Bridge, Session
from daemon.alibi.environment import SCRIPT, Environment, examine
from daemon.alibi.process import ChildFailed, Process
from detectors.alibi import Task

ROWS = np.array([[1.0, 2.0], [3.0, 4.0]])
TASK = Task("cvm", {"window_size": 80}, ROWS, ROWS, 100.0)
BEFORE = np.array([[5.0, 6.0]])

CHILD = """
import json, os, signal, socket, struct, sys, time
FOLDER, DOES = {folder!r}, {does!r}
number = len([name for name in os.listdir(FOLDER) if name[0] != "."])
does = DOES[min(number, len(DOES) - 1)]
heard = []
def note():
    told = {{"pid": os.getpid(), "environment": dict(os.environ), "isolated": sys.flags.isolated, "heard": heard}}
    with open(os.path.join(FOLDER, "." + str(number)), "w") as file:
        json.dump(told, file)
    os.replace(os.path.join(FOLDER, "." + str(number)), os.path.join(FOLDER, str(number)))
note()
if does == "no package":
    sys.exit("ModuleNotFoundError: No module named 'alibi_detect'")
stream = socket.socket(fileno=0)
def read(size):
    data = b""
    while len(data) < size:
        part = stream.recv(size - len(data))
        if not part:
            sys.exit()
        data += part
    return data
def say(body):
    stream.sendall(struct.pack(">I", len(body)) + body)
print("a library may print what it likes", flush=True)
while True:
    asked = json.loads(read(*struct.unpack(">I", read(4))))
    heard.append(asked)
    note()
    if asked["op"] == "hello":
        say(json.dumps({{"alibi_detect": "0.10.4" if does == "old" else "0.11.4"}}).encode())
    elif asked["op"] == "calibrate":
        if does == "hang":
            time.sleep(600)
        refusal = {{"error": "ValueError: all zero"}}
        say(json.dumps(refusal if does == "refuse" else {{"calibration": {{"a": 1}}}}).encode())
    elif asked["op"] == "open":
        say(b"{{}}")
    elif does == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    elif does == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    elif does == "well":
        say(json.dumps({{"answers": [[sum(row)] for row in asked["rows"]]}}).encode())
    elif does == "no JSON":
        say(b"you are welcome")
    elif does == "endless":
        stream.sendall(b"\\xff" * 4)
    else:
        say(does.encode())
"""


class Scripted:
    """Processes that do as they are told, one after the other: the first is the one that calibrates."""

    def __init__(self, folder: Path) -> None:
        self.now = 0.0
        self._script = folder / "child.py"
        self._notes = folder / "notes"
        self._notes.mkdir()
        self._bridges: list[Bridge] = []

    def bridge(self, *does: str, patient: bool = True, answer_seconds: float = 30.0) -> Bridge:
        self._script.write_text(CHILD.format(folder=str(self._notes), does=does))
        environment = Environment(Path(sys.executable), 1_024, tensorflow=False, script=self._script)
        self._bridges.append(
            Bridge(
                environment,
                answer_seconds=answer_seconds,
                calibration_seconds=60.0,
                patient=patient,
                clock=lambda: self.now,
            )
        )
        return self._bridges[-1]

    def environment(self, does: str) -> Environment:
        self._script.write_text(CHILD.format(folder=str(self._notes), does=[does]))
        return Environment(Path(sys.executable), 1_024, tensorflow=False, script=self._script)

    def notes(self) -> list[dict[str, Any]]:
        return [json.loads((self._notes / str(n)).read_text()) for n in range(len(list(self._notes.glob("[0-9]*"))))]

    def close(self) -> None:
        for bridge in self._bridges:
            bridge.close()


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Scripted]:
    made = Scripted(tmp_path)
    yield made
    made.close()


def calibrated(session: Session) -> dict[str, Any]:
    found = session.calibrate()
    assert found is not None
    return found


def is_running(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until(met: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not met():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)


def test_it_is_asked_in_a_process_of_its_own_that_has_no_secret(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTD_API_TOKEN", "open sesame")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "open sesame")
    session = scripted.bridge("well").open(TASK)
    answers = session.answer(calibrated(session), BEFORE, ROWS)
    assert answers is not None
    assert answers.tolist() == [[3.0], [7.0]]
    for note in scripted.notes():
        assert note["isolated"] == 1
        assert note["pid"] != os.getpid()
        assert "open sesame" not in json.dumps(note)


def test_it_is_told_what_came_before_when_it_is_opened_and_no_more_than_once(scripted: Scripted) -> None:
    session = scripted.bridge("well").open(TASK)
    for _ in range(2):
        session.answer({"a": 1}, BEFORE, ROWS)
    said = scripted.notes()[0]["heard"]
    assert [one["op"] for one in said] == ["hello", "open", "answer", "answer"]
    assert (said[1]["rows"], said[1]["calibration"]) == ([[5.0, 6.0]], {"a": 1})


def test_a_detector_that_nobody_holds_any_more_is_forgotten(scripted: Scripted) -> None:
    bridge = scripted.bridge("well")
    first, second = bridge.open(TASK), bridge.open(TASK)
    for session in (first, second):
        session.answer({}, BEFORE, ROWS)
    gone = first.key
    del first, session
    second.answer({}, BEFORE, ROWS)
    assert scripted.notes()[0]["heard"][-1]["forget"] == [gone]


def test_a_crash_is_said_once_and_after_a_while_another_goes_on_from_the_rows_before(scripted: Scripted) -> None:
    session = scripted.bridge("crash", "crash", "well").open(TASK)
    with capture_logs() as logs:
        assert session.answer({}, BEFORE, ROWS) is None
        assert session.answer({}, BEFORE, ROWS) is None, "it waits before it tries again"
        assert len(scripted.notes()) == 1
        scripted.now += 1.0
        assert session.answer({}, BEFORE, ROWS) is None
        scripted.now += 1.0
        assert session.answer({}, BEFORE, ROWS) is None, "it waits longer each time"
        assert len(scripted.notes()) == 2
        scripted.now += 1.0
        answers = session.answer({}, BEFORE, ROWS)
    assert answers is not None
    assert scripted.notes()[2]["heard"][1]["rows"] == [[5.0, 6.0]]
    assert [one["log_level"] for one in logs] == ["error", "info"]
    assert "ended with -9" in logs[0]["error"]


def test_one_that_hangs_is_ended(scripted: Scripted) -> None:
    session = scripted.bridge("hang", answer_seconds=0.5).open(TASK)
    with capture_logs() as logs:
        assert session.answer({}, BEFORE, ROWS) is None
    assert "did not answer within 0.5 s" in logs[0]["error"]
    assert not is_running(scripted.notes()[0]["pid"])


@pytest.mark.parametrize(
    "lie",
    [
        "no JSON",
        "endless",
        "[]",
        "{}",
        '{"answers": 7}',
        '{"answers": [[1.0]]}',
        '{"answers": [[1.0], [2.0, 3.0]]}',
        '{"answers": [[1.0], ["2"]]}',
        '{"answers": [[1.0], [NaN]]}',
        '{"answers": [[], []]}',
    ],
)
def test_one_that_answers_nonsense_is_ended_and_not_believed(scripted: Scripted, lie: str) -> None:
    session = scripted.bridge(lie).open(TASK)
    with capture_logs() as logs:
        assert session.answer({}, BEFORE, ROWS) is None
    assert "answered" in logs[0]["error"]
    assert not is_running(scripted.notes()[0]["pid"])


def test_a_detector_that_cannot_be_calibrated_is_told_and_the_others_go_on(scripted: Scripted) -> None:
    bridge = scripted.bridge("refuse", "well")
    session, other = bridge.open(TASK), bridge.open(TASK)
    with capture_logs() as logs:
        assert session.calibrate() is None
        assert session.calibrate() is None
    assert [one["error"] for one in logs] == ["ValueError: all zero"]
    assert other.answer({}, BEFORE, ROWS) is not None
    scripted.now += 1.0
    assert session.calibrate() == {"a": 1}


@pytest.mark.parametrize(
    ("does", "said"),
    [("no package", "no working alibi-detect .*No module named 'alibi_detect'"), ("old", "alibi-detect 0.10.4")],
)
def test_a_wrong_environment_is_told_with_what_to_type(scripted: Scripted, does: str, said: str) -> None:
    with pytest.raises(ChildFailed, match=f"{said}.*make alibi"):
        scripted.environment(does).start()
    assert examine(scripted.environment("well")) is None


def test_a_missing_environment_is_told_once_with_what_to_type(tmp_path: Path) -> None:
    environment = Environment(tmp_path / "bin" / "python", 1_024, tensorflow=False)
    assert "make alibi, or set DRIFTD_ALIBI__PYTHON" in str(examine(environment))
    now = 0.0
    bridge = Bridge(environment, answer_seconds=1.0, calibration_seconds=1.0, patient=True, clock=lambda: now)
    session = bridge.open(TASK)
    with capture_logs() as logs:
        for _ in range(5):
            assert session.answer({}, BEFORE, ROWS) is None
            now += 1_000.0
    assert len(logs) == 1
    bridge.close()


def test_the_daemon_does_not_wait_for_a_start_nor_for_a_calibration(scripted: Scripted) -> None:
    session = scripted.bridge("hang", "well", patient=False).open(TASK)
    assert session.calibrate() is None
    wait_until(lambda: [one["op"] for note in scripted.notes()[:1] for one in note["heard"]] == ["hello", "calibrate"])
    assert session.calibrate() is None
    wait_until(lambda: session.answer({}, BEFORE, ROWS) is not None)


def test_too_many_rows_are_not_all_waited_for(scripted: Scripted) -> None:
    bridge = scripted.bridge("well", patient=False)
    session = bridge.open(TASK)
    wait_until(lambda: session.answer({}, BEFORE, ROWS) is not None)
    bridge._allowance.seconds = -1.0
    with capture_logs() as logs:
        assert session.answer({}, BEFORE, ROWS) is None
        assert session.answer({}, BEFORE, ROWS) is None
        scripted.now += 2 * SAVED_SECONDS
        assert session.answer({}, BEFORE, ROWS) is not None
    assert [one["log_level"] for one in logs] == ["warning"]
    assert scripted.notes()[0]["heard"][-2]["op"] == "open", "it has missed rows, and goes on from the last ones"


def test_nothing_is_left_when_it_is_closed(scripted: Scripted) -> None:
    bridge = scripted.bridge("hang", "well", patient=False)
    session = bridge.open(TASK)
    session.calibrate()
    wait_until(lambda: bool(scripted.notes() and scripted.notes()[0]["heard"][1:]))
    wait_until(lambda: session.answer({}, BEFORE, ROWS) is not None)
    bridge.close()
    assert len(scripted.notes()) == 2
    assert not any(is_running(note["pid"]) for note in scripted.notes())
    assert session.answer({}, BEFORE, ROWS) is None


def test_the_process_ends_with_whoever_started_it() -> None:
    start = (
        "import sys, time; from daemon.alibi.process import Process;"
        f"one = Process([sys.executable, '-I', {str(SCRIPT)!r}, '1024', 'plain']);"
        "print(one.pid, one._folder.name, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    number, folder = parent.stdout.readline().split()
    pid = int(number)
    assert is_running(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not is_running(pid))
    assert not Path(folder).exists()


def test_what_cannot_be_started_is_told(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("this is no program")
    with pytest.raises(ChildFailed, match="cannot be started: Permission denied"):
        Process([str(tmp_path / "python")])


def test_who_does_not_ask_for_it_has_nothing_of_it() -> None:
    script = (
        "import sys, numpy as np, daemon.app; from daemon import parts; from daemon.settings import Settings;"
        "from daemon.monitoring.monitors import make_monitor;"
        "assert parts.alibi(Settings()) is None; make_monitor('loans', Settings());"
        "print([name for name in sys.modules if name.startswith(('daemon.alibi.b', 'daemon.alibi.p', 'alibi_detect'))])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
