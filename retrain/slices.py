"""The gain in each slice of the rows, so that a gain of the many does not hide a loss of the few."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from retrain.base import Reason, RetrainError
from retrain.evaluation import Evaluation
from retrain.job import GateSettings
from retrain.paired import Pairs

MOST_SLICES: Final = 200
"""The largest; beyond, no single one could be told from chance."""


@dataclass(frozen=True, slots=True)
class SliceFigures:
    """One slice; ``broken``: it lost more than the floor allows, with confidence over all slices together."""

    attribute: str
    value: str
    rows: int
    champion_loss: float
    challenger_loss: float
    gain: float
    broken: bool


def judge_slices(evaluation: Evaluation, settings: GateSettings) -> list[SliceFigures]:
    """Every slice with enough rows. The risk of a wrong alarm is shared out evenly (Bonferroni)."""
    slices = _slices(evaluation, settings)
    alpha = (1 - settings.confidence) / max(len(slices), 1)
    return [
        SliceFigures(
            attribute=attribute,
            value=value,
            rows=len(pairs),
            champion_loss=float(pairs.champion.mean()) * evaluation.worst,
            challenger_loss=float(pairs.challenger.mean()) * evaluation.worst,
            gain=pairs.gain,
            broken=pairs.proves_below(-settings.slice_floor, alpha),
        )
        for attribute, value, pairs in slices
    ]


def _slices(evaluation: Evaluation, settings: GateSettings) -> list[tuple[str, str, Pairs]]:
    attributes = evaluation.segments()
    for name in settings.slice_features:
        attributes[name] = groups_of(evaluation, name)
    found = [
        (attribute, str(value), groups == value)
        for attribute, groups in attributes.items()
        for value in dict.fromkeys(groups)
        if value is not None and int((groups == value).sum()) >= settings.slice_rows
    ]
    found.sort(key=lambda one: -int(one[2].sum()))
    return [(attribute, value, evaluation.pairs_of(rows)) for attribute, value, rows in found[:MOST_SLICES]]


def groups_of(evaluation: Evaluation, attribute: str) -> NDArray[Any]:
    """The group of each row. Raises RetrainError where no feature and no segment has that name."""
    groups = evaluation.groups(attribute)
    if groups is None:
        known = sorted({*evaluation.segments(), *evaluation.features})
        message = f"no feature and no segment is called {attribute!r}"
        raise RetrainError(Reason.BAD_SETTING, message, f"known are {', '.join(known) or 'none'}")
    return np.asarray(groups, dtype=object)
