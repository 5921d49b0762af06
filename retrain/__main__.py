"""``python -I -m retrain FOLDER``: do the job in FOLDER, leave its result there.

Progress goes to standard output, one JSON object a line; what went on goes to standard error. Exit code 0: judged;
1: failed, for the reason in ``result.json``; 64: not called as above; 66: no such folder.
"""

import json
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from retrain.job import JOB_FILE, Job, read_job

if TYPE_CHECKING:
    from retrain.base import Stage
    from retrain.result import Result
    from retrain.storage.base import Storage

EX_USAGE: Final = 64
EX_NOINPUT: Final = 66


def main(arguments: list[str]) -> int:
    """Run the job in the folder named by the only argument."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -I -m retrain FOLDER\n")
        return EX_USAGE
    folder = Path(arguments[0])
    if not folder.is_dir():
        sys.stderr.write(f"no folder {folder}\n")
        return EX_NOINPUT
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # it tells of every font
    job, problem = _read(folder)
    if job is not None:
        _use_threads(job.limits.threads)  # before numpy is imported, which reads it once
    from retrain.base import Outcome, Reason, RetrainError
    from retrain.result import failed, write_result
    from retrain.supervision import NICENESS, alone_in

    if job is None:
        hint = "the daemon that wrote the job and this package differ in version: reinstall driftd, restart it"
        write_result(folder, failed(RetrainError(Reason.BAD_JOB, problem, hint)))
        return 1
    os.nice(NICENESS)
    with alone_in(folder):
        result = _supervised(job, folder)
        write_result(folder, result)
    logging.getLogger("retrain").info("%s: %s", result.outcome, result.message)
    return 1 if result.outcome is Outcome.FAILED else 0


def _read(folder: Path) -> tuple[Job | None, str]:
    try:
        return read_job(folder), ""
    except (OSError, msgspec.DecodeError) as error:
        return None, f"{JOB_FILE}: {error}"


def _use_threads(threads: int) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))


def _supervised(job: Job, folder: Path) -> "Result":
    """The result, whatever happens on the way to it."""
    from retrain.base import Reason, RetrainError
    from retrain.result import RESULT_FILE, failed, write_result
    from retrain.supervision import Interrupted, interruptible

    def fail(reason: Reason, message: str, hint: str) -> "Result":
        return failed(RetrainError(reason, message, hint), job)

    def ended(reason: Reason) -> "Result":
        if reason is Reason.TIMED_OUT:
            hint = "raise DRIFTD_RETRAIN__TIMEOUT_SECONDS, or train on fewer rows"
            return fail(reason, f"stopped after {job.limits.seconds:g} s", hint)
        if reason is Reason.OUT_OF_MEMORY:
            hint = "raise DRIFTD_RETRAIN__MEMORY_MB, or train on fewer rows"
            return fail(reason, f"more than {job.limits.memory_mb} MiB of memory were needed", hint)
        return fail(reason, "stopped before it was done", "the daemon starts it again where that makes sense")

    with suppress(FileNotFoundError):
        (folder / RESULT_FILE).unlink()  # of an attempt before
    try:
        with interruptible(job.limits, lambda reason: write_result(folder, ended(reason))):
            from retrain.pipeline import run

            return run(job, folder, _report, _storage(job))
    except Interrupted as interruption:
        return ended(interruption.reason)
    except RetrainError as error:
        return failed(error, job)
    except MemoryError:
        return ended(Reason.OUT_OF_MEMORY)
    except Exception as error:  # whatever it is, the daemon is told
        logging.getLogger("retrain").exception("unexpected")
        return fail(Reason.UNEXPECTED, f"{type(error).__name__}: {error}", "the log of the retrain says where")


def _storage(job: Job) -> "Storage | None":
    from retrain.base import Reason, RetrainError
    from retrain.storage import open_storage
    from retrain.storage.address import take_keys

    keys = take_keys()  # whatever the job runs from here on does not see them
    try:
        return None if job.storage is None else open_storage(job.storage, keys)
    except ValueError as error:
        raise RetrainError(Reason.BAD_JOB, f"storage: {error}", "correct DRIFTD_ARCHIVE_URL") from error


def _report(stage: "Stage", done: float, text: str, rows: int | None = None) -> None:
    known = {} if rows is None else {"rows": rows}
    sys.stdout.write(json.dumps({"stage": stage.value, "done": round(done, 3), "text": text, **known}) + "\n")
    with suppress(BrokenPipeError):  # the daemon has gone; the watch on it ends this process
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
