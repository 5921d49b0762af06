"""What the detectors of a model's streams find in the rows that wait, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from daemon.monitoring.causes import Causes, Found
from daemon.monitoring.findings import FEATURES_MOVED, LABELS_LATER, Findings
from daemon.monitoring.pairs import Pairs
from daemon.monitoring.second_looks import SecondLooks
from daemon.monitoring.window import Ranking, Window
from detectors.base import Kind, Verdict
from detectors.columns import Stream
from detectors.regimes import Regime


class Judgement:
    """Judges the streams of one model together: what one of them shows explains what another one raises."""

    def __init__(self, windows: Mapping[Stream, Window]) -> None:
        self._windows = windows
        self.second_looks = SecondLooks()
        self._unjudged: list[Pairs] = []

    def expect(self, pairs: Sequence[Pairs]) -> None:
        """These have come into the window of outcomes."""
        self._unjudged += pairs

    def judge(self, findings: Findings, rows: int, whole_rows: int, regimes: tuple[Regime, ...]) -> None:
        """Let the detectors see all rows that make whole windows, and add to ``findings`` what they find.

        ``rows`` is how many predictions have come, ``whole_rows`` of how many all streams have what came with them.
        """
        # while the row of the prediction tells where a change began, an alarm is raised at the row of the day
        at = {row: now for pairs in self._unjudged for row, now in zip(pairs.rows, pairs.at, strict=True)}
        self._unjudged = []
        # many more labels may have come since, within the same checkpoint
        joined = findings.counts["joined"] - len(at)
        # the outcomes first, so that the features can be asked what had moved by the row of an alarm, and not later
        outcomes = self._judge_outcomes(at, joined, rows)
        features, found = self._windows[Stream.FEATURES], []
        for place, one in enumerate(outcomes):
            verdict = one.verdict
            if verdict.kind is Kind.CONCEPT and not verdict.recovered:
                found += [Found(Stream.FEATURES, raised) for raised in features.judge(until=verdict.row)]
                moved = features.moved_since(verdict.change_row)
                outcomes[place] = replace(one, verdict=_with_features(verdict, moved))
        for stream, window in self._windows.items():
            found += [Found(stream, raised) for raised in window.judge()]
        causes = Causes(self._windows, at, regimes)
        explained = [causes.explain(one) for one in (*found, *outcomes)]
        findings.verdicts += explained
        findings.renamed += self.second_looks.take(explained, whole_rows, causes.look)
        for window in self._windows.values():
            window.remember()

    def _judge_outcomes(self, at: Mapping[int, int], joined: int, rows: int) -> list[Found]:
        window = self._windows[Stream.OUTCOME]
        verdicts: Sequence[Verdict] = window.judge()
        if not verdicts:
            return []
        came = {row: joined + place for place, row in enumerate(at, start=1)}
        fresh = {row: place for place, row in enumerate(window.fresh_rows().tolist(), start=1)}
        found = [
            Found(
                Stream.OUTCOME,
                replace(
                    one,
                    row=int(at.get(one.row, rows - 1)),
                    evidence=one.evidence | {LABELS_LATER: came.get(one.row, joined)},
                ),
                fresh.get(one.row),
            )
            for one in verdicts
        ]
        return sorted(found, key=lambda one: one.verdict.row)


def _with_features(verdict: Verdict, moved: Ranking | None) -> Verdict:
    """An alarm about errors with what moved of the features meanwhile: it ranks nothing but errors by itself."""
    if moved is None:
        return verdict
    return replace(verdict, ranking=moved, evidence=verdict.evidence | {FEATURES_MOVED: len(moved)})
