"""Which figures can be had of labelled rows of classes, and from which of their columns."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from daemon.monitoring import class_metrics
from daemon.monitoring.class_metrics import Codes
from daemon.monitoring.measured import Measured
from daemon.monitoring.prediction_scores import Scores
from retrain.classes import in_order, one_positive

TWO = 2


def positive_class(
    chosen: str | None, known: Sequence[str], classes: Sequence[str], predictions: Codes, scores: Scores
) -> str | None:
    """Of a model of two classes the one that F1 and a plain score are of; None where two are not known.

    ``chosen`` is what a person has set. Otherwise it is one of the reference's (``known``), or else of the rows': the
    one that goes with the higher scores, or the greater one, as in a retrain.
    """
    two = known if len(known) == TWO else classes
    if chosen is not None or len(two) != TWO:
        return chosen
    texts = np.array([*classes, None], dtype=object)[predictions]
    return one_positive(in_order(two), texts, scores.values[:, 0].astype(np.float64))


def of_two_classes(
    positive: str | None, classes: Sequence[str], labels: Codes, predictions: Codes, scores: Scores
) -> list[Measured]:
    """F1, and where there are scores: AUC, and where those are probabilities: log loss and calibration."""
    if positive is None:
        why = "the rows have one class only" if len(classes) < TWO else "which of the classes is the positive one?"
        return [Measured.missing("f1", len(labels), why)]
    code = classes.index(positive) if positive in classes else len(classes)
    came = labels == code
    found = [class_metrics.f1(came, predictions == code)]
    given = _probability_of(positive, scores)
    scored = np.isfinite(given)
    if not scored.any():
        return found
    came, given = came[scored], given[scored]
    found.append(class_metrics.auc(came, given))
    if _are_probabilities(given):
        found.append(class_metrics.log_loss(np.where(came, given, 1 - given)))
        found.append(class_metrics.calibration_error(came, given))
    return found


def _probability_of(positive: str, scores: Scores) -> NDArray[np.float64]:
    """What each row gave the positive class: by its name, as what the other one leaves, or as the plain score."""
    values = scores.values.astype(np.float64)
    given: NDArray[np.float64] = values[:, 0]
    for place, name in enumerate(scores.classes, start=1):
        if name != positive:
            given = np.where(np.isfinite(values[:, place]), 1 - values[:, place], given)
    if positive in scores.classes:
        own = values[:, 1 + scores.classes.index(positive)]
        given = np.where(np.isfinite(own), own, given)
    return given


def of_several_classes(classes: Sequence[str], labels: Codes, predictions: Codes, scores: Scores) -> list[Measured]:
    """The mean F1 of the classes; with probabilities by class the mean AUC, log loss, and calibration.

    A plain score is the probability of the class that was predicted: of that only the calibration can be told.
    """
    found = [class_metrics.macro_f1(labels, predictions)]
    names = sorted(scores.classes)
    values = scores.of(scores.classes).astype(np.float64)
    by_class = values[:, [1 + scores.classes.index(name) for name in names]]
    scored = np.isfinite(by_class).any(axis=1)
    by_class = np.nan_to_num(by_class)  # a class that a row does not name has probability 0
    column = np.array([*(names.index(one) if one in names else -1 for one in classes), -1])
    labelled, predicted = column[labels], column[predictions]
    if scored.any():
        given, came = by_class[scored], labelled[scored]
        found.append(class_metrics.macro_auc(came, given))
        if _are_probabilities(given):
            found.append(class_metrics.log_loss(_of_each(given, came)))
    confidence = np.where(scored, _of_each(by_class, predicted), values[:, 0])
    known = np.isfinite(confidence)
    if known.any() and _are_probabilities(confidence[known]):
        found.append(class_metrics.calibration_error((labels == predictions)[known], confidence[known]))
    return found


def _of_each(by_class: NDArray[np.float64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each row the value in its column, 0 where that is -1."""
    with_none = np.column_stack((by_class, np.zeros(len(by_class))))
    picked: NDArray[np.float64] = with_none[np.arange(len(columns)), columns]
    return picked


def _are_probabilities(values: NDArray[np.float64]) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())
