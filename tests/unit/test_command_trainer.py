"""The user's own training code is run as it is, and judged by what it predicts."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archive_rows import make_archive, make_job

from retrain import command
from retrain.base import Candidate, Reason, RetrainError
from retrain.dataset import make_dataset
from retrain.trainers.command import CommandTrainer

GOOD = """
import json, os, pathlib
job = json.loads(os.environ["DRIFTD_JOB"])
output = pathlib.Path(os.environ["DRIFTD_OUTPUT"])
(output / "model.txt").write_text("always one")
lines = ["prediction,score"] + ["1,0.9"] * job["evaluation_rows"]
(output / "predictions.csv").write_text("\\n".join(lines) + "\\n")
"""


def train(folder: Path, script: str, task: str = "binary", **trainer: Any) -> Candidate:
    make_archive(folder, task, rows=200)
    (folder / "train.py").write_text(script)
    settings = {"name": "command", "command": [str(folder / "train.py")], "python": sys.executable, **trainer}
    job = make_job(folder, task, trainer=settings)
    dataset = make_dataset(job, folder)
    output = folder / "candidate"
    output.mkdir()
    return CommandTrainer().train(
        job, dataset.training(), dataset.evaluation_inputs(), output, lambda _done, _text: None
    )


def refused(folder: Path, script: str, task: str = "binary", **trainer: Any) -> RetrainError:
    with pytest.raises(RetrainError) as raised:
        train(folder, script, task, **trainer)
    assert raised.value.hint
    return raised.value


def test_predictions_are_taken_and_kept_out_of_the_version(tmp_path: Path) -> None:
    candidate = train(tmp_path, GOOD)
    assert candidate.predictions.tolist() == ["1"] * 100
    assert candidate.probabilities is not None
    assert candidate.probabilities[0].tolist() == pytest.approx([0.1, 0.9])
    assert candidate.classes == ("0", "1")
    assert candidate.latency_seconds is None
    assert [file.name for file in (tmp_path / "candidate").iterdir()] == ["model.txt"]


def test_parquet_and_report_and_scores_by_class(tmp_path: Path) -> None:
    script = (
        GOOD.split("lines =", maxsplit=1)[0]
        + """
import pyarrow, pyarrow.parquet
given = pyarrow.parquet.read_table(os.environ["DRIFTD_DATASET"])
asked = pyarrow.parquet.read_table(os.environ["DRIFTD_EVALUATION"])
assert set(given.schema.names) - set(asked.schema.names) == {"label"}, asked.schema.names
assert "prediction" not in asked.schema.names and "score" not in asked.schema.names
rows = asked.num_rows
table = {"prediction": ["low"] * rows}
table |= {f"score:{name}": [chance] * rows for name, chance in (("low", 0.5), ("high", 0.2), ("middle", 0.3))}
pyarrow.parquet.write_table(pyarrow.table(table), output / "predictions.parquet")
(output / "report.json").write_text(json.dumps({"algorithm": "stump", "latency_ms": 3}))
"""
    )
    candidate = train(tmp_path, script, "multiclass")
    assert candidate.classes == ("low", "high", "middle")
    assert candidate.algorithm == "stump"
    assert candidate.latency_seconds == 0.003


def test_a_failing_command_is_quoted(tmp_path: Path) -> None:
    error = refused(tmp_path, "import sys; print('loading'); sys.exit('no table customers')")
    assert error.reason is Reason.TRAINER_FAILED
    assert "exit code 1" in error.message
    assert "no table customers" in error.message


def test_a_command_out_of_memory_is_told_apart(tmp_path: Path) -> None:
    error = refused(tmp_path, "raise MemoryError")
    assert error.reason is Reason.OUT_OF_MEMORY
    assert "MEMORY_MB" in error.hint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("predictions.csv", "result.csv"), "no predictions.parquet or predictions.csv"),
        (('job["evaluation_rows"]', '(job["evaluation_rows"] - 1)'), "99 rows, the evaluation has 100"),
        (('"prediction,score"', '"answer,score"'), "no column prediction, but answer, score"),
        (('(output / "model.txt").write_text("always one")', ""), "no model"),
        (("lines = ", '(output / "report.json").write_text("{"); lines = '), "report.json"),
        (("predictions.csv", "predictions.parquet"), "cannot be read"),
    ],
)
def test_output_that_will_not_do_is_explained(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    script = GOOD.replace(*change)
    assert script != GOOD
    error = refused(tmp_path, script)
    assert error.reason is Reason.BAD_OUTPUT
    assert said in error.message


@pytest.mark.parametrize(
    "trainer",
    [{"command": None}, {"python": "/nowhere/python"}, {"directory": "/nowhere"}],
    ids=["no command", "no interpreter", "no directory"],
)
def test_a_command_that_cannot_start(tmp_path: Path, trainer: dict[str, Any]) -> None:
    error = refused(tmp_path, GOOD, **trainer)
    assert error.reason in {Reason.BAD_SETTING, Reason.TRAINER_FAILED}
    assert "DRIFTD_RETRAIN__" in error.hint


def test_no_secret_of_ours_reaches_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTD_SLACK_BOT_TOKEN", "xoxb-secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
    monkeypatch.setenv("USERS_OWN", "kept")
    script = "import os, sys; sys.exit(repr(sorted(os.environ)))"
    message = refused(tmp_path, script).message
    assert "SLACK" not in message
    assert "CREDENTIALS_DIRECTORY" not in message
    assert "USERS_OWN" in message
    assert "DRIFTD_DATASET" in message


DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
FAMILY = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {DEAF!r}], stdout=subprocess.PIPE)
child.stdout.readline()
open(os.environ["PIDS"], "w").write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1] if Path("/proc").is_dir() else True


def test_out_of_time_the_whole_family_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "GRACE_SECONDS", 0.1)
    pids = tmp_path / "pids"
    waiting = threading.Event()
    done = command.run([sys.executable, "-c", FAMILY], environment={"PIDS": str(pids)}, seconds=2, log=tmp_path / "log")
    assert done.by is command.Ended.TIME
    family = [int(pid) for pid in pids.read_text().split()]
    assert len(family) == 2
    for _ in range(100):  # the kernel reaps the orphan in its own time
        if not any(map(alive, family)):
            break
        waiting.wait(0.02)
    assert not any(map(alive, family))


def test_whatever_ends_the_wait_ends_the_command(tmp_path: Path) -> None:
    def alarm(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, alarm)
    begin = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            command.run(
                [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"],
                environment={},
                log=tmp_path / "log",
            )
    finally:
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - begin < 30
    assert not any(alive(int(pid)) for pid in (tmp_path / "log").read_text().split())


def test_a_long_log_is_quoted_by_its_end(tmp_path: Path) -> None:
    script = "print('x' * 100_000); [print('line', number) for number in range(100)]; raise SystemExit(3)"
    done = command.run([sys.executable, "-c", script], environment={}, seconds=60, log=tmp_path / "log")
    assert done.code == 3
    assert done.log.splitlines() == [f"line {number}" for number in range(88, 100)]


def test_json_of_the_job_tells_what_to_do(tmp_path: Path) -> None:
    told = refused(tmp_path, "import os, sys; sys.exit(os.environ['DRIFTD_JOB'])").message.splitlines()[-1]
    about = json.loads(told)
    assert about["features"] == ["income", "age", "debt", "region"]
    assert (about["task"], about["classes"]) == ("binary", ["0", "1"])
    assert (about["training_rows"], about["evaluation_rows"]) == (100, 100)


def test_numbers_are_read_as_numbers(tmp_path: Path) -> None:
    candidate = train(tmp_path, GOOD.replace("1,0.9", "2.5,0"), "regression")
    assert candidate.predictions.dtype == np.float64
    assert candidate.probabilities is None


def test_a_process_that_leaves_in_haste_takes_its_commands_along(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def leave() -> None:
        while not log.exists() or not log.read_text():
            pause.wait(0.01)
        command.kill_running()

    pause = threading.Event()
    leaving = threading.Thread(target=leave)
    leaving.start()
    done = command.run(
        [sys.executable, "-c", "import time; print('running', flush=True); time.sleep(600)"], environment={}, log=log
    )
    leaving.join()
    assert done.code == -signal.SIGKILL
    command.kill_running()  # nothing is left to kill
