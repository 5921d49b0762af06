"""A retrain as the daemon starts it: a process of its own that always leaves an answer, and never half a version."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from archive_rows import make_archive, make_job

from retrain import pipeline
from retrain.base import Outcome, Reason, RetrainError
from retrain.dataset import content_hash
from retrain.job import read_job
from retrain.registry import Registry, load, verify

PATIENCE = 120.0
"""Seconds after which something hangs."""


def write_job(folder: Path, task: str = "binary", *, rows: int = 500, **settings: Any) -> None:
    make_archive(folder, task, rows=rows)
    settings = {"trainer": {"algorithms": ["linear"], "folds": 2}, "picture": False, **settings}
    (folder / "job.json").write_bytes(msgspec.json.encode(make_job(folder, task, **settings)))


def start(folder: Path) -> "subprocess.Popen[str]":
    # from elsewhere, and isolated: only what is installed may be imported
    return subprocess.Popen(
        [sys.executable, "-I", "-m", "retrain", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    )


def result_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def run(folder: Path, code: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The result, and the progress told on the way."""
    process = start(folder)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, err
    return result_of(folder), [json.loads(line) for line in out.splitlines()]


def script(folder: Path, text: str, **settings: Any) -> dict[str, Any]:
    (folder / "train.py").write_text(text)
    return {"trainer": {"name": "command", "python": sys.executable, "command": [str(folder / "train.py")], **settings}}


@pytest.fixture
def processes() -> Iterator[list["subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition: Any) -> None:
    """The state of another process can only be looked at."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z"


@dataclass(frozen=True)
class Done:
    """A retrain that found a better model."""

    result: dict[str, Any]
    progress: list[dict[str, Any]]
    folder: Path


@pytest.fixture(scope="module", params=["binary", "regression"])
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp(request.param)
    write_job(folder, request.param, picture=request.param == "binary")
    return Done(*run(folder, 0), folder)


def test_a_better_model_is_found_judged_and_registered(done: Done) -> None:
    result = done.result
    assert (result["outcome"], result["reasons"]) == (Outcome.PROMOTE, [Reason.GAIN_PROVEN])
    assert 0 < result["gain"]["low"] < result["gain"]["estimate"] < result["gain"]["high"]
    assert (result["job"], result["model"], result["version"]) == ("job-1", "loans", "2")
    path = Path(result["path"])
    manifest = verify(path, result["model_hash"])
    assert manifest.details["dataset"]["hash"] == result["dataset_hash"]
    assert manifest.details["gate"]["outcome"] == Outcome.PROMOTE
    assert content_hash(pq.read_table(done.folder / "dataset.parquet")) == result["dataset_hash"]
    assert result["dataset_hash"] in (path / "MODEL_CARD.md").read_text()


def test_progress_and_picture(done: Done) -> None:
    stages = ["dataset", "train", "gate", "register", "plot"]
    assert list(dict.fromkeys(line["stage"] for line in done.progress)) == list(done.result["seconds"]) == stages
    assert all(0 <= line["done"] <= 1 for line in done.progress)
    picture = done.result["picture"]
    assert picture is None or Path(picture).read_bytes().startswith(b"\x89PNG")
    assert (picture is None) == (done.folder.name.startswith("regression"))


def test_the_reference_is_the_rows_as_the_new_version_would_have_served_them(done: Done) -> None:
    rows = pq.read_table(done.result["reference"])
    training = done.result["dataset"]["training_rows"]
    assert rows.num_rows == 500
    assert rows.column("prediction").null_count == training
    assert set(rows.column("version").to_pylist()) == {"2"}
    later = rows.slice(training)
    label, said = (np.array(later.column(name).to_pylist()) for name in ("label", "prediction"))
    model = load(Path(done.result["path"]), done.result["model_hash"])
    frame = later.to_pandas().rename(columns=lambda name: name.removeprefix("feature:"))
    error = done.result["reference_error"]
    if said.dtype.kind == "f":
        losses = np.abs(said - label)
        assert model.predict(frame) == pytest.approx(said)
    else:
        losses = said != label.astype(str)
        assert model.predict(frame).astype(str).tolist() == said.tolist()
        assert model.predict_proba(frame)[:, 1].tolist() == pytest.approx(later.column("score").to_pylist())
    assert error["values"] == pytest.approx(losses.astype(float))
    assert (error["n"], error["mean"]) == (len(losses), pytest.approx(losses.mean()))


def test_held_and_rejected_versions_are_kept_with_the_reasons(tmp_path: Path) -> None:
    write_job(tmp_path, gate={"minimum_gain": 0.9, "size_mb": 0.000001})
    result, _ = run(tmp_path, 0)
    assert (result["outcome"], result["reasons"]) == (Outcome.REJECT, [Reason.SIZE])
    assert {check["reason"]: check["outcome"] for check in result["checks"]}["gain_not_proven"] == Outcome.HOLD
    assert verify(Path(result["path"])).details["gate"]["outcome"] == Outcome.REJECT


def test_a_failure_has_a_reason_and_a_hint(tmp_path: Path) -> None:
    write_job(tmp_path, rows=60)
    result, _ = run(tmp_path, 1)
    assert (result["outcome"], result["reasons"]) == (Outcome.FAILED, [Reason.TOO_FEW_ROWS])
    assert "60 labelled rows" in result["message"]
    assert result["hint"]
    assert result["version"] == "2"


@pytest.mark.parametrize(
    "settings",
    [
        {"trainer": {"name": "oracle"}},
        {"gate": {"loss": "squared"}},
        {"gate": {"fairness_attribute": "gender"}, "trainer": {"algorithms": ["linear"], "folds": 2}},
    ],
)
def test_a_setting_that_cannot_be_is_no_reason_to_guess(tmp_path: Path, settings: dict[str, Any]) -> None:
    write_job(tmp_path, **settings)
    with pytest.raises(RetrainError) as raised:
        pipeline.run(read_job(tmp_path), tmp_path, lambda _stage, _done, _text, _rows=None: None)
    assert raised.value.reason is Reason.BAD_SETTING
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("job", [None, "{", '{"job": 1}', '{"job": 1, "modle": "loans"}'])
def test_a_job_that_cannot_be_read(tmp_path: Path, job: str | None) -> None:
    if job is not None:
        (tmp_path / "job.json").write_text(job)
    result, _ = run(tmp_path, 1)
    assert (result["outcome"], result["reasons"]) == (Outcome.FAILED, [Reason.BAD_JOB])
    assert "job.json" in result["message"]


@pytest.mark.parametrize(("arguments", "code"), [([], 64), (["a", "b"], 64), (["/nowhere"], 66)])
def test_a_wrong_call_is_told(arguments: list[str], code: int) -> None:
    done = subprocess.run([sys.executable, "-I", "-m", "retrain", *arguments], capture_output=True, check=False)
    assert done.returncode == code
    assert done.stderr


SLEEPER = "import os, time; open(os.environ['DRIFTD_OUTPUT'] + '/pid', 'w').write(str(os.getpid())); time.sleep(600)"


def script_pid(folder: Path) -> int:
    file = folder / "candidate" / "pid"
    wait_for(lambda: file.exists() and file.read_text())
    return int(file.read_text())


def test_sigterm_ends_it_and_what_it_started_at_once(tmp_path: Path, processes: list["subprocess.Popen[str]"]) -> None:
    write_job(tmp_path, **script(tmp_path, SLEEPER))
    processes.append(start(tmp_path))
    pid = script_pid(tmp_path)
    begin = time.monotonic()
    processes[0].send_signal(signal.SIGTERM)
    processes[0].communicate(timeout=PATIENCE)
    assert time.monotonic() - begin < 10
    assert processes[0].returncode == 1
    assert result_of(tmp_path)["reasons"] == [Reason.STOPPED]
    assert Registry(tmp_path / "models").versions("loans") == []
    wait_for(lambda: gone(pid))


def test_out_of_time_is_told_and_ends_what_it_started(tmp_path: Path) -> None:
    write_job(tmp_path, limits={"seconds": 6}, **script(tmp_path, SLEEPER))
    result, _ = run(tmp_path, 1)
    assert result["reasons"] == [Reason.TIMED_OUT]
    assert "6 s" in result["message"]
    wait_for(lambda: gone(script_pid(tmp_path)))


GREEDY = "import time; rows = [b'1' * 10_000_000 for _ in range(60)]; time.sleep(600)"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much memory a process takes")
def test_a_command_that_takes_too_much_memory_is_ended(tmp_path: Path) -> None:
    write_job(tmp_path, limits={"memory_mb": 400}, **script(tmp_path, GREEDY))
    result, _ = run(tmp_path, 1)
    assert result["reasons"] == [Reason.OUT_OF_MEMORY]
    assert "400 MiB" in result["message"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much memory a process takes")
def test_too_little_memory_to_train_is_told(tmp_path: Path) -> None:
    write_job(tmp_path, limits={"memory_mb": 20})
    result, _ = run(tmp_path, 1)
    assert result["reasons"] == [Reason.OUT_OF_MEMORY]
    assert "MEMORY_MB" in result["hint"]


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-I", "-m", "retrain", sys.argv[1]], stdout=subprocess.PIPE)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_it_does_not_outlive_the_daemon_and_the_next_attempt_waits_for_it(
    tmp_path: Path, processes: list["subprocess.Popen[str]"]
) -> None:
    write_job(tmp_path, **script(tmp_path, SLEEPER))
    processes.append(subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True))
    assert processes[0].stdout is not None
    child = int(processes[0].stdout.readline())
    pid = script_pid(tmp_path)
    processes[0].kill()
    write_job(tmp_path)
    result, _ = run(tmp_path, 0)
    assert result["outcome"] == Outcome.PROMOTE
    wait_for(lambda: gone(child) and gone(pid))


def test_the_same_job_can_be_done_again_and_another_cannot_take_its_version(tmp_path: Path) -> None:
    write_job(tmp_path)
    run(tmp_path, 0)
    (tmp_path / "result.json").unlink()  # as if it had been killed between publishing and telling
    again, _ = run(tmp_path, 0)
    verify(Path(again["path"]), again["model_hash"])
    write_job(tmp_path, job="job-2")
    other, _ = run(tmp_path, 1)
    assert other["reasons"] == [Reason.NOT_REGISTERED]
    verify(Path(again["path"]), again["model_hash"])


@pytest.mark.parametrize("stage", ["train", "register"])
def test_killed_at_any_moment_there_is_a_whole_version_or_none(
    tmp_path: Path, stage: str, processes: list["subprocess.Popen[str]"]
) -> None:
    write_job(tmp_path)
    processes.append(start(tmp_path))
    assert processes[0].stdout is not None
    for line in processes[0].stdout:
        if json.loads(line)["stage"] == stage:
            break
    processes[0].kill()
    processes[0].communicate()
    registry = Registry(tmp_path / "models")
    for version in registry.versions("loans"):
        verify(registry.path("loans", version))
    result, _ = run(tmp_path, 0)
    verify(Path(result["path"]), result["model_hash"])
    assert [one.name for one in Path(result["path"]).parent.iterdir()] == ["2"]
