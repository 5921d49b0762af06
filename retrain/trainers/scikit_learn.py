"""The built-in trainer: the best of several scikit-learn pipelines by time-ordered cross-validation."""

import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy import float64
from numpy.typing import NDArray

from retrain.archive import FEATURE
from retrain.base import Candidate, Progress, Reason, RetrainError
from retrain.classes import class_texts
from retrain.job import Job
from retrain.losses import Predictions, constant, loss
from retrain.model_files import MODEL_FILE, load_model, save_model
from retrain.trainers.algorithms import ALGORITHMS, Inputs, usable_inputs

TIMED_ROWS: Final = 200
TIMED_SECONDS: Final = 2.0
"""Longest time spent on measuring the latency."""


class ScikitLearnTrainer:
    """Candidates are linear, random forest and gradient boosting; a constant is the floor that the best must beat.

    The model is saved with skops as one pipeline that takes a data frame with the plain feature names; extra columns
    are ignored, a missing value is NaN or None, a category never seen is as good as missing. What is judged is what
    the saved file predicts once it is loaded again.
    """

    name = "sklearn"

    def train(self, job: Job, training: pa.Table, evaluation: pa.Table, output: Path, progress: Progress) -> Candidate:
        """See ``Trainer``."""
        from threadpoolctl import threadpool_limits

        # on small data more threads than free cores wait for each other most of the time
        with threadpool_limits(job.limits.threads):
            return self._train(job, training, evaluation, output, progress)

    def _train(self, job: Job, training: pa.Table, evaluation: pa.Table, output: Path, progress: Progress) -> Candidate:
        frame, later = _frame(training), _frame(evaluation)
        target = _target(training)
        if job.task != "regression" and len(np.unique(target)) == 1:
            message = f"all {len(target)} training rows are labelled {target[0]!r}"
            raise RetrainError(Reason.ONE_CLASS, message, "wait for labels of another class")
        inputs = usable_inputs(frame)
        if not inputs.names:
            message = "every feature has the same value in all rows, or a value of its own in each"
            raise RetrainError(Reason.NO_FEATURES, message, "send features that tell rows apart")
        losses = self._compare(job, inputs, frame, target, progress)
        best = min(losses, key=losses.__getitem__)
        if best == "constant":
            message = "no algorithm beats always saying the same in cross-validation"
            raise RetrainError(Reason.NO_BETTER_THAN_CONSTANT, message, "the features do not tell the labels apart")
        progress(0.8, f"{best} on {len(frame)} rows")
        pipeline = ALGORITHMS[best](inputs, job.task, job.trainer.seed).fit(frame, target)
        save_model(pipeline, output / MODEL_FILE)
        progress(0.95, "what the saved model predicts")
        loaded = load_model(output / MODEL_FILE)
        said = predict(loaded, later, job)
        return Candidate(
            folder=output,
            algorithm=best,
            predictions=said.values,
            classes=said.classes,
            probabilities=said.probabilities,
            latency_seconds=latency(loaded, later),
            details={"cross_validation": losses, "features": inputs.names, "libraries": _libraries()},
        )

    def _compare(
        self, job: Job, inputs: Inputs, frame: pd.DataFrame, target: NDArray[Any], progress: Progress
    ) -> dict[str, float]:
        """The mean loss of each algorithm on later folds, and that of a constant."""
        from sklearn.model_selection import TimeSeriesSplit

        names = job.trainer.algorithms or tuple(ALGORITHMS)
        for name in names:
            if name not in ALGORITHMS:
                message, hint = f"no algorithm is called {name!r}", f"known are {', '.join(ALGORITHMS)}"
                raise RetrainError(Reason.BAD_SETTING, message, hint)
        folds = [
            (fit, test)
            for fit, test in TimeSeriesSplit(n_splits=max(job.trainer.folds, 2)).split(frame)
            if job.task == "regression" or len(np.unique(target[fit])) > 1
        ]
        if not folds:
            message = "all early training rows have one class"
            raise RetrainError(Reason.ONE_CLASS, message, "wait for labels of another class")
        truth = target if job.task == "regression" else class_texts(target.tolist())
        losses = {}
        for number, name in enumerate(names):
            progress(0.8 * number / len(names), f"{name}, cross-validated on {len(folds)} folds")
            total: list[NDArray[float64]] = []
            for fit, test in folds:
                pipeline = ALGORITHMS[name](inputs, job.task, job.trainer.seed).fit(frame.iloc[fit], target[fit])
                total.append(loss(job.gate.loss, truth[test], predict(pipeline, frame.iloc[test], job)))
            losses[name] = float(np.concatenate(total).mean())
        floor = [loss(job.gate.loss, truth[test], constant(truth[fit], len(test))) for fit, test in folds]
        return losses | {"constant": float(np.concatenate(floor).mean())}


def predict(pipeline: Any, frame: pd.DataFrame, job: Job) -> Predictions:
    """What ``pipeline`` says of ``frame``."""
    if job.task == "regression":
        return Predictions(np.asarray(pipeline.predict(frame), dtype=float64))
    probabilities = np.asarray(pipeline.predict_proba(frame), dtype=float64)
    classes = class_texts(pipeline.classes_.tolist())
    return Predictions(classes[probabilities.argmax(axis=1)], tuple(classes), probabilities)


def latency(pipeline: Any, frame: pd.DataFrame) -> float:
    """The 99th percentile of the time of one prediction, in seconds of one processor.

    Not by the clock on the wall: beside a busy daemon that would measure the daemon.
    """
    times: list[float] = []
    begin = time.perf_counter()
    for row in range(min(len(frame), TIMED_ROWS)):
        one = frame.iloc[row : row + 1]
        start = time.thread_time()
        pipeline.predict(one)
        times.append(time.thread_time() - start)
        if time.perf_counter() - begin > TIMED_SECONDS:
            break
    return float(np.quantile(times[1:] or times, 0.99))  # the first call warms up


def _frame(table: pa.Table) -> pd.DataFrame:
    names = [name for name in table.schema.names if name.startswith(FEATURE)]
    columns = {}
    for name in names:
        values = table.column(name)
        if pa.types.is_string(values.type):
            # NaN and not None: pandas before version 3 would hand None to scikit-learn, which sorts it as a category
            present = [np.nan if value is None else value for value in values.to_pylist()]
            columns[name.removeprefix(FEATURE)] = np.array(present, dtype=object)
        else:
            columns[name.removeprefix(FEATURE)] = values.to_numpy()
    return pd.DataFrame(columns)


def _target(table: pa.Table) -> NDArray[Any]:
    label = table.column("label")
    return np.array(label.to_pylist(), dtype=str) if pa.types.is_string(label.type) else np.asarray(label.to_numpy())


def _libraries() -> dict[str, str]:
    import sklearn
    import skops

    found = {"scikit-learn": sklearn, "skops": skops, "numpy": np, "pandas": pd}
    return {name: str(module.__version__) for name, module in found.items()}
