"""alibi-detect itself, in the environment that `make alibi` makes: what it keeps, finds, and costs the daemon."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from alibi_detect_once import PYTHON, AlibiOnce, NoAlibi, environment
from click.testing import CliRunner
from seeded_rows import errors, learn, rows_of, watch

from daemon.alibi.bridge import Bridge
from daemon.alibi.environment import SCRIPT, examine
from daemon.cli import main
from detectors.base import Kind
from detectors.columns import Columns, Stream
from detectors.reference import Reference
from detectors.registry import Options, build

QUICK = {"window_size": 20, "most_ert": 100}

KEPT = """
import importlib.util, json, pickle, sys
for name in ("tensorflow", "tensorflow_probability"):
    if sys.argv[2] in ("cvm", "fet"):
        sys.modules[name] = None
spec = importlib.util.spec_from_file_location("child", sys.argv[1])
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
import numpy as np
rng = np.random.default_rng(0)
kind, told = sys.argv[2], {"window_size": 10}
def rows(n):
    return (rng.random((n, 1)) < 0.3) * 1.0 if kind == "fet" else rng.normal(size=(n, 3))
reference = rows(100)
known = child.calibrate(kind, told, reference, 20.0, rows(20))
one = (child.Drift if kind in child.FLAGGING else child.Scores)(kind, told, reference, known)
def kept():
    arrays = {name: value for name, value in vars(one.detector).items() if hasattr(value, "shape")}
    return sum(int(np.prod(value.shape)) for value in arrays.values())
sizes = []
for _ in range(3):
    one.answer(rows(int(sys.argv[3])))
    sizes.append(kept())
print(json.dumps(sizes))
"""


@pytest.fixture(autouse=True)
def made() -> None:
    try:
        environment()
    except NoAlibi as absent:
        pytest.skip(str(absent))


@pytest.mark.parametrize(("kind", "rows"), [("cvm", 1_000), ("fet", 1_000), ("mmd", 40), ("lsdd", 40)])
def test_what_an_online_detector_keeps_stops_growing(kind: str, rows: int) -> None:
    command = [str(PYTHON), "-I", "-c", KEPT, str(SCRIPT), kind, str(rows)]
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=quiet)
    first, second, third = json.loads(found.stdout.splitlines()[-1])
    assert first == second == third


def failing() -> tuple[Reference, Columns]:
    rng = np.random.default_rng(0)
    return learn(rows_of(Stream.OUTCOME, {"error": errors(rng, (2_400, 0.1), (100, 0.5))}))


def test_the_environment_is_well() -> None:
    assert examine(environment()) is None


def test_a_process_that_is_killed_changes_nothing_of_what_is_found_afterwards() -> None:
    reference, live = failing()
    found = []
    for kill in (False, True):
        bridge = Bridge(environment(), answer_seconds=120.0, calibration_seconds=600.0, patient=True)
        detector = build("alibi_fet", reference, Options(100_000, alibi=bridge), QUICK)
        assert detector is not None
        before = watch(detector, reference, live.slice(0, 380))
        if kill:
            assert bridge.pid is not None
            os.kill(bridge.pid, 9)
            bridge.clock = lambda: 1e9
            assert detector.update(*_one(reference, live, 380)) == []
            bridge._trouble.until = 0.0
        else:
            assert detector.update(*_one(reference, live, 380)) == []
        found.append([before, watch(detector, reference, live.slice(381, len(live))), detector.state()])
        bridge.close()
    assert found[0] == found[1]
    assert [one.kind for one in found[0][1]] == [Kind.CONCEPT]


def _one(reference: Reference, live: Columns, place: int) -> Any:
    from seeded_rows import count

    return count(reference, live.slice(place, place + 1), 1), live.slice(place, place + 1)


def test_a_detector_that_is_restored_does_not_have_to_be_calibrated_again(alibi: AlibiOnce) -> None:
    reference, live = failing()
    first = build("alibi_fet", reference, Options(100_000, alibi=alibi), QUICK)
    assert first is not None
    watch(first, reference, live.slice(0, 200))
    stored = msgspec.msgpack.encode(first.state())
    other = Bridge(environment(), answer_seconds=120.0, calibration_seconds=0.001, patient=True)
    second = build("alibi_fet", reference, Options(100_000, alibi=other), QUICK)
    assert second is not None
    second.restore(msgspec.msgpack.decode(stored))
    rest = live.slice(200, len(live))
    assert watch(second, reference, rest) == watch(first, reference, rest) != []
    other.close()


def history(folder: Path) -> Path:
    rng = np.random.default_rng(3)
    x = np.concatenate((rng.normal(size=1_200), rng.normal(2, 1, size=200)))
    file = folder / "history.csv"
    file.write_text(
        "\n".join(["x,y,prediction", *(f"{a:.4f},{b:.4f},1" for a, b in zip(x, rng.normal(size=1_400), strict=True))])
    )
    return file


def replayed(folder: Path, *more: str) -> list[dict[str, Any]]:
    chosen = ["--set", "DRIFTD_DETECTORS=default,alibi_cvm(window_size=20,most_ert=100)"]
    command = [sys.executable, "-m", "daemon", "replay", str(history(folder)), "--prediction", "prediction", "--json"]
    command += ["--reference-rows", "1000", *chosen, *more]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stderr.count("nothing is asked of alibi-detect") == (1 if more else 0), found.stderr
    return [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]


def test_replay_says_what_it_would_have_raised_and_waits_for_it(tmp_path: Path) -> None:
    by = {one["detector"]: one for one in replayed(tmp_path) if one.get("signal") == "feature:x"}
    assert set(by) == {"e_detector", "alibi_cvm"}
    assert 1_200 <= by["alibi_cvm"]["row"] < 1_260


def test_without_it_the_others_go_on(tmp_path: Path) -> None:
    found = replayed(tmp_path, "--set", f"DRIFTD_ALIBI__PYTHON={tmp_path / 'nowhere'}")
    assert {one["detector"] for one in found if "detector" in one} == {"e_detector"}


def test_doctor_and_check_config_tell_what_is_wrong_with_it(tmp_path: Path) -> None:
    asked = {"DRIFTD_DETECTORS": "alibi_cvm", "DRIFTD_DATA_DIR": str(tmp_path), "DRIFTD_ALIBI__PYTHON": str(PYTHON)}
    well = CliRunner().invoke(main, ["doctor"], env=asked)
    assert f"alibi-detect: {PYTHON} has alibi-detect 0.11.4" in well.output
    asked["DRIFTD_ALIBI__PYTHON"] = str(tmp_path / "nowhere")
    for command in ("doctor", "check-config"):
        wrong = CliRunner().invoke(main, [command], env=asked)
        assert "nowhere: make alibi, or set DRIFTD_ALIBI__PYTHON" in " ".join(wrong.output.split())
