"""How well the version in service does before its labels come: learned, estimated, and held against them when they do.

    learning --enough labels--> trusted --labels show it wrong--> distrusted --enough fresh labels--> trusted

What is kept is a sample of rows: while learning those whose labels are waited for, and then those of the chunk that is
to be estimated. Which rows are in it, where a chunk ends and when it learns depends on rows, labels and their order
alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from daemon.monitoring.chunks import LEAST_SHARE, LONGEST_SECONDS
from daemon.monitoring.estimate_chunks import EstimatedChunk, EstimatedChunks, sum_on
from daemon.monitoring.estimate_report import State, Turn, report
from daemon.monitoring.estimate_sample import Layout, Sample, is_sampled
from daemon.monitoring.options import EstimateOptions
from daemon.monitoring.tasks import Task
from daemon.monitoring.window import Window
from detectors.columns import Columns, Stream
from detectors.estimate_check import EstimateCheck
from detectors.loss_model import LossModel

FULL: Final = 7 / 8
"""To which part a full sample is emptied."""
MOST_LEARNED: Final = 3 / 4
"""The part of a sample that may have labels before it is learned from: the others wait for theirs."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows whose labels have come, in the order in which they did, with their losses.

    ``at`` is the newest row then, ``ts`` the time of the label.
    """

    rows: NDArray[np.int64]
    losses: NDArray[np.float64]
    at: NDArray[np.int64]
    ts: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)

    def at_places(self, part: slice | NDArray[np.int64]) -> "Labelled":
        """Some of them."""
        return Labelled(self.rows[part], self.losses[part], self.at[part], self.ts[part])


_NO_ROWS: Final = Columns(Stream.PREDICTION, np.empty(0, dtype=np.int64), np.empty(0), {})
_NO_LABELS: Final = Labelled(_NO_ROWS.rows, _NO_ROWS.ts, _NO_ROWS.rows, _NO_ROWS.ts)


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: Columns  # predictions of the version in service
    features: Columns | None
    labelled: Labelled


class EstimateStream:
    """Estimates of one model: a chunk of rows after the other."""

    def __init__(self, options: EstimateOptions, max_waiting: int) -> None:
        self._options = options
        self._max_waiting = max_waiting
        self._model: LossModel | None = None
        self._model_changed = True  # since it was stored
        self._check: EstimateCheck | None = None
        self.sample = Sample()
        self.changed = True  # since the owner has set it to False
        self._drawn: list[EstimatedChunk] = []
        self._turns: list[Turn] = []
        self.clear()

    def clear(self) -> None:
        """Begin again, for another version."""
        self.changed = True
        self._task: Task | None = None
        self._layout: Layout | None = None
        self._from_row = 0
        self._distrusted: Turn | None = None
        self.chunks = EstimatedChunks(self._options.most_chunks)
        self._number = 0  # of the next chunk
        self._rows_before = 0  # rows of those that are complete
        self._open_at(None)
        self._learn_anew()

    # --- rows and labels

    def begin(self, task: Task | None, windows: Mapping[Stream, Window], row: int) -> None:
        """Learn from ``row`` on as soon as the references are there, and anew where they are others."""
        features, prediction = windows[Stream.FEATURES], windows[Stream.PREDICTION]
        if self._layout is not None:
            kept = self._layout.prediction is prediction.reference
            if kept and (self._layout.features is None or self._layout.features is features.reference):
                return
            self.clear()
        if (
            task is None
            or prediction.reference is None
            or (features.learning and features.missing < features.reference_rows)
        ):
            return
        self._task, self._layout, self._from_row = task, Layout(features.reference, prediction.reference), row
        self._learn_anew()

    def take(self, rows: Columns | None, features: Columns | None, labelled: Sequence[Labelled]) -> None:
        """Take in predictions of the version in service, what features came with them, and its rows' labels.

        Each of ``labelled`` follows the one before it.
        """
        if self._layout is None:
            return
        rows = _NO_ROWS if rows is None else rows
        one = labelled[0] if len(labelled) == 1 else _joined(labelled)
        known = np.flatnonzero(np.isfinite(one.losses) & (one.rows >= self._from_row))
        if len(known) < len(one):
            one = one.at_places(known)
        if len(rows) or len(one):
            self.changed = True
        batch = _Batch(rows, features, one)
        row = label = 0
        while row < len(rows) or label < len(one):
            go_on = self._learn if self._model is None else self._estimate
            row, label = go_on(batch, row, label)

    def _learn(self, batch: _Batch, row: int, label: int) -> tuple[int, int]:
        """Go on up to where something else is to be done: the row and the label that are next."""
        rows, labelled = batch.rows.rows, batch.labelled
        picked = self._picked(rows, row)
        room = self._most_rows - len(self.sample)
        fits, over = picked[:room], picked[room : room + 1]
        self._put(batch, fits)
        stop = int(np.searchsorted(labelled.at, rows[over[0]])) if len(over) else len(labelled)
        some = labelled.at_places(slice(label, stop))
        self.chunks.count(some.rows, some.losses)
        places = self.sample.find(some.rows)
        found = np.flatnonzero(places >= 0)
        missing = self.wanted - int(self.sample.labelled.sum())
        last = found[:missing]
        self.sample.losses[places[last]] = some.losses[last]
        if len(last) == missing:
            done = int(last[-1])
            self._learned(int(some.at[done]), float(some.ts[done]))
            return max(row, int(np.searchsorted(rows, some.at[done], side="right"))), label + done + 1
        if not len(over):
            return len(rows), stop
        self._make_room(int(rows[over[0]]))
        return int(over[0]), stop

    def _estimate(self, batch: _Batch, row: int, label: int) -> tuple[int, int]:
        """The same where it has learned."""
        rows, labelled = batch.rows.rows, batch.labelled
        if self._first_row is None and row < len(rows):
            self._open_at(int(rows[row]), float(batch.rows.ts[row]))
        picked = self._picked(rows, row)
        end = self._end(batch.rows, picked, row)
        self._put(batch, picked if end is None else picked[picked <= end])
        stop = len(labelled) if end is None else int(np.searchsorted(labelled.at, rows[end]))
        some = labelled.at_places(slice(label, stop))
        wrong = self._reconcile(some)
        if wrong is not None:
            at = int(some.at[wrong])
            self._distrust(at, float(some.ts[wrong]))
            return max(row, int(np.searchsorted(rows, at, side="right"))), label + wrong + 1
        if end is None:
            self._rows += len(rows) - row
            return len(rows), stop
        self._rows += end + 1 - row
        self._complete(int(rows[end]), float(batch.rows.ts[end]))
        return end + 1, stop

    def _picked(self, rows: NDArray[np.int64], start: int) -> NDArray[np.int64]:
        """The places, from ``start`` on, of rows that are to be in the sample."""
        places: NDArray[np.int64] = start + np.flatnonzero(is_sampled(rows[start:], self._every))
        return places

    def _put(self, batch: _Batch, places: NDArray[np.int64]) -> None:
        if len(places):
            assert self._layout is not None  # noqa: S101 (take has looked)
            rows = batch.rows.at(places)
            self.sample.append(rows.rows, self._layout.table(rows, batch.features))

    # --- learning

    @property
    def _most_rows(self) -> int:
        return max(self._options.most_values // max(len(self._layout or ()), 1), 4)

    @property
    def wanted(self) -> int:
        """Labels from which it learns."""
        return min(self._options.labels, int(MOST_LEARNED * self._most_rows))

    def _make_room(self, now: int) -> None:
        """Let go of rows whose labels can no longer come, and if need be of every other one that waits for its."""
        sample = self.sample
        labelled = sample.labelled
        keep = labelled | (sample.rows >= now - self._max_waiting)
        while keep.sum() > FULL * self._most_rows:
            self._every *= 2
            keep &= labelled | is_sampled(sample.rows, self._every)
        sample.keep(keep)

    def _learned(self, row: int, ts: float) -> None:
        assert self._layout is not None  # noqa: S101 (take has looked)
        sample, known = self.sample, self.sample.labelled
        self._model = LossModel.learn(
            sample.table[known], self._layout.categories, sample.losses[known], chunk_rows=self._options.chunk_rows
        )
        self._model_changed = True
        self._check = self._new_check()
        if self._distrusted is not None:
            self._turns.append(Turn(row, ts, trusted=True))
            self._distrusted = None
        self._empty_sample()
        self._open_at(None)

    def _learn_anew(self) -> None:
        self.changed = True
        self._model, self._check, self._model_changed = None, None, True
        self._empty_sample()
        self._every = 1

    def _empty_sample(self) -> None:
        self.sample.clear(len(self._layout or ()))

    # --- estimating

    def _open_at(self, row: int | None, ts: float = 0.0) -> None:
        """The next chunk begins, at ``row`` or at whichever is the next."""
        self._first_row, self._since = row, ts
        self._rows, self._open_labelled, self._open_lost = 0, 0, 0.0
        rows = max(self._options.chunk_rows, int(self._rows_before * LEAST_SHARE))
        self._every = max(1, rows // self._options.sample_rows)

    def _end(self, rows: Columns, picked: NDArray[np.int64], row: int) -> int | None:
        """The place of the row that completes the chunk: the first one of the sample after enough rows, or time."""
        count = self._rows + 1 + picked - row
        enough = count >= LEAST_SHARE * self._rows_before
        late = rows.ts[picked] - self._since >= LONGEST_SECONDS
        ends = picked[(count >= self._options.chunk_rows) & (enough | late)]
        return int(ends[0]) if len(ends) else None

    def _reconcile(self, some: Labelled) -> int | None:
        """Hold labels against what was expected: after which of them it is known to be wrong, None for none."""
        if not len(some):
            return None
        assert self._check is not None  # noqa: S101 (it has learned)
        expected = self.chunks.expected(some.rows)
        known = np.flatnonzero(np.isfinite(expected))
        wrong = self._check.update(expected[known], some.losses[known]) if len(known) else []
        if wrong:
            some = some.at_places(slice(0, int(known[wrong[0]]) + 1))
        self.chunks.count(some.rows, some.losses)
        if self._first_row is not None:
            own = some.losses[some.rows >= self._first_row]
            self._open_labelled += len(own)
            self._open_lost = sum_on(self._open_lost, own)
            places = self.sample.find(some.rows)
            found = places >= 0
            self.sample.losses[places[found]] = some.losses[found]
        return len(some) - 1 if wrong else None

    def _complete(self, row: int, ts: float) -> None:
        assert self._model is not None  # noqa: S101 (it has learned)
        assert self._check is not None  # noqa: S101 (likewise)
        assert self._first_row is not None  # noqa: S101 (this row at least is in it)
        expected = self._model.expected(self.sample.table)
        found = self._model.over(expected, self._rows)
        means = expected.mean.astype(np.float32)
        chunk = EstimatedChunk(
            self._number,
            self._first_row,
            row,
            ts,
            self._rows,
            len(means),
            found.mean,
            found.low,
            found.high if self._task is Task.REGRESSION else min(found.high, 1.0),
            self._open_labelled,
            self._open_lost,
        )
        self._drawn.append(chunk)
        self.chunks.append(chunk, self.sample.rows, means)
        self._number += 1
        self._rows_before += self._rows
        early = self.sample.labelled  # those that were labelled before they were estimated
        wrong = self._check.update(means[early].astype(np.float64), self.sample.losses[early])
        self._empty_sample()
        self._open_at(None)
        if wrong:
            self._distrust(row, ts)

    def _distrust(self, row: int, ts: float) -> None:
        self._distrusted = Turn(row, ts, trusted=False)
        self._turns.append(self._distrusted)
        self.chunks.forget_samples()
        self._open_at(None)
        self._learn_anew()

    # --- what is said

    def take_chunks(self) -> list[EstimatedChunk]:
        """What has been estimated since the last call, for the charts."""
        drawn, self._drawn = self._drawn, []
        return drawn

    def take_turns(self) -> list[Turn]:
        """Where it was trusted and distrusted since the last call."""
        turns, self._turns = self._turns, []
        return turns

    @property
    def state(self) -> State:
        """How far it is to be believed."""
        if self._layout is None:
            return State.REFERENCE
        if self._distrusted is not None:
            return State.DISTRUSTED
        return State.LEARNING if self._model is None else State.TRUSTED

    def report(self, task: Task | None) -> dict[str, Any]:
        """What is shown (see ``estimate_report``)."""
        learning = None if self._model is not None else (int(self.sample.labelled.sum()), self.wanted)
        return report(task, self.state, learning, self._distrusted, self.chunks.chunks)

    # --- what is stored

    def take_parts(self) -> dict[str, Any]:
        """What has changed since the last call, by the part's name, as values that msgpack can hold."""
        parts = {"": self._main(), **_within("sample:", self.sample.take_blocks())}
        parts |= _within("chunk:", self.chunks.take_samples())
        if self._model_changed:
            parts["model"] = None if self._model is None else self._model.to_dict()
            self._model_changed = False
        return parts

    def _main(self) -> dict[str, Any]:
        since = self._distrusted
        return {
            "task": None if self._task is None else self._task.value,
            "features": self._layout is not None and self._layout.features is not None,
            "begun": self._layout is not None,
            "from_row": self._from_row,
            "evidence": None if self._check is None else self._check.state(),
            "distrusted": None if since is None else [since.row, since.ts],
            "chunks": self.chunks.state(),
            "number": self._number,
            "rows_before": self._rows_before,
            "losses": self.sample.losses.tobytes(),
            "every": self._every,
            "open": [self._first_row, self._since, self._rows, self._open_labelled, self._open_lost],
        }

    def restore(self, parts: Mapping[str, Any], windows: Mapping[Stream, Window]) -> None:
        """Go on from what was stored, with the references that were stored with it."""
        main = parts[""]
        features, prediction = windows[Stream.FEATURES].reference, windows[Stream.PREDICTION].reference
        if not main["begun"] or prediction is None:
            return
        self._task, self._layout = Task(main["task"]), Layout(features if main["features"] else None, prediction)
        self._from_row = main["from_row"]
        self._learn_anew()
        self._model = None if parts["model"] is None else LossModel.from_dict(parts["model"])
        self._model_changed = False
        if main["evidence"] is not None:
            self._check = self._new_check()
            self._check.restore(main["evidence"])
        if main["distrusted"] is not None:
            row, ts = main["distrusted"]
            self._distrusted = Turn(row, ts, trusted=False)
        self.chunks = EstimatedChunks.restored(self._options.most_chunks, main["chunks"], _under("chunk:", parts))
        self._number, self._rows_before, self._every = main["number"], main["rows_before"], main["every"]
        self.sample.restore(_under("sample:", parts), main["losses"])
        self._first_row, self._since, self._rows, self._open_labelled, self._open_lost = main["open"]
        self.changed = False

    def _new_check(self) -> EstimateCheck:
        return EstimateCheck(binary=self._task is not Task.REGRESSION, tolerance=self._options.tolerance)


def _within(prefix: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    return {prefix + name: data for name, data in parts.items()}


def _under(prefix: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): data for name, data in parts.items() if name.startswith(prefix)}


def _joined(labelled: Sequence[Labelled]) -> Labelled:
    parts = [_NO_LABELS, *labelled]
    return Labelled(
        np.concatenate([one.rows for one in parts]),
        np.concatenate([one.losses for one in parts]),
        np.concatenate([one.at for one in parts]),
        np.concatenate([one.ts for one in parts]),
    )
