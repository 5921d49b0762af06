"""How well a shift of the features, of the labels, or of what labels follow from features, explains what is seen.

Each explanation is weighed by what it leaves unexplained, in nats, and by what it takes to say it (Schwarz 1978,
"Estimating the dimension of a model"): a feature that has moved freely takes as many numbers as it has groups, a shift
of the labels one number for all features together.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from detectors.effect import groups_of
from detectors.error_shift import FEWEST_LABELS, PRIOR_ODDS, errors
from detectors.known import Known, answer
from detectors.label_shift import FEWEST_JOINED, unexplained_by_labels
from detectors.moves import Moves, moves
from detectors.parts import SCORE_GROUPS, Parts


@dataclass(frozen=True, slots=True)
class Weighed:
    """Nats for each explanation, higher is better, -inf for what cannot be told; ``figures`` are behind them."""

    covariate: float
    label: float
    concept: float
    labels: int
    moved: tuple[str, ...]
    figures: dict[str, float] = field(default_factory=dict)


def weigh(known: Known, moved: Moves | None) -> Weighed:
    """Weigh the three explanations; ``moved`` is how the features moved, where they are known."""
    answers = _answers(known)
    cost = (0.0 if moved is None else moved.cost) + (0.0 if answers is None else answers.cost)
    names = () if moved is None else tuple(np.array(moved.signals, dtype=object)[moved.moved].tolist())
    wrong = errors(known, moved)
    shift = PRIOR_ODDS + unexplained_by_labels(known)
    if wrong is None:
        seen = names or (answers is not None and answers.moved.any())
        return Weighed(*((-cost, -shift) if seen else (-np.inf, -np.inf)), -np.inf, 0, names)
    return Weighed(
        -cost - wrong.given_features,
        -shift - wrong.given_labels,
        -cost - wrong.anyhow,
        wrong.labels,
        names,
        wrong.figures,
    )


def _answers(known: Known) -> Moves | None:
    """How the scores moved, or the predictions where there are none: both say the same."""
    if known.prediction is None or len(known.prediction[1]) < FEWEST_LABELS:
        return None
    found = moves(*known.prediction)
    s = answer(known.prediction[0])
    one = slice(s, s + 1)
    return Moves(found.signals[one], found.misfit[one], found.free[one], found.degrees[one], found.rows)


def importance(known: Known) -> NDArray[np.float64] | None:
    """How much each feature tells of the prediction, in the reference's sample: mutual information without chance.

    None where the sample does not tell.
    """
    if known.features is None or known.prediction is None:
        return None
    features, prediction = known.features[0], known.prediction[0]
    _, mine, theirs = np.intersect1d(features.sample_rows, prediction.sample_rows, return_indices=True)
    if len(mine) < FEWEST_JOINED:
        return None
    to = Parts(prediction, answer(prediction), SCORE_GROUPS)(prediction.sample[theirs])
    codes = features.codes(features.sample[mine])
    found = np.zeros(len(features.signals))
    classes = int(to.max(initial=0)) + 1
    for s in range(len(found)):
        group = groups_of(features, s)[codes[:, s]]
        table = np.zeros((int(group.max()) + 1, classes))
        np.add.at(table, (group, to), 1)
        table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
        share = table / table.sum()
        even = share.sum(axis=1, keepdims=True) * share.sum(axis=0, keepdims=True)
        information = float((share * np.log(np.where(share > 0, share, 1.0) / even)).sum())
        found[s] = max(information - (table.shape[0] - 1) * (table.shape[1] - 1) / (2 * len(mine)), 0.0)
    return found if found.sum() > 0 else None
