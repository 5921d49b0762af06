"""Predictions and labels that have met before it is known what kind of model it is, and so what a wrong one is."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from daemon.monitoring.labelled import Revision
from daemon.monitoring.pairs import Pairs
from daemon.monitoring.prediction_scores import Scores, after_each_other


class Undecided:
    """Pairs in their order, and labels that replace some of theirs."""

    def __init__(self, pairs: Sequence[Pairs] = (), revised: Iterable[Revision] = ()) -> None:
        self.pairs = list(pairs)
        self._revised = {one.row: one for one in revised}

    def revise(self, revisions: Iterable[Revision]) -> None:
        """Further labels; the latest of a row counts."""
        self._revised |= {one.row: one for one in revisions}

    def take(self) -> tuple[list[Pairs], list[Revision]]:
        """All of them, which are decided from now on."""
        pairs, revised = self.pairs, list(self._revised.values())
        self.pairs, self._revised = [], {}
        return pairs, revised

    def state(self) -> dict[str, Any]:
        """Values that msgpack can hold."""
        return {
            "undecided": [pairs.state() for pairs in self.pairs],
            "undecided_scores": after_each_other([pairs.scores for pairs in self.pairs]).packed(),
            "undecided_revised": list(self._revised.values()),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """The reverse of ``state``; older releases kept neither scores nor revisions."""
        scores = state.get("undecided_scores")
        pairs: list[Pairs] = []
        start = 0
        for one in state["undecided"]:
            end = start + len(one[0])
            pairs.append(Pairs.restored(one, None if scores is None else Scores.restored(scores).at(slice(start, end))))
            start = end
        return cls(pairs, [Revision(*one) for one in state.get("undecided_revised", ())])
