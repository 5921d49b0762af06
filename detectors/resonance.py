"""Strange shapes in a numeric series: stretches that resonate with none of those before them.

Fuzzy ART with complement coding (Carpenter, Grossberg and Rosen, 1991, "Fuzzy ART: fast stable learning and
categorization of analog patterns by an adaptive resonance system") and two vigilances (Brito da Silva, Elnabarawy and
Wunsch, 2019, "Dual vigilance fuzzy adaptive resonance theory"): a shape that matches what is known by the upper one is
learned into it, one that does not match by the lower one is strange. How vigilances move, and the figures of that, are
Mark Hampton's (ARTime, 2021, published with the results of the Numenta Anomaly Benchmark). What is not his: he knows
the range of the whole series beforehand, here it is that of the values so far, in which all that is remembered is
expressed anew as it widens; and the oldest shape is forgotten when there are too many.
"""

from collections import deque
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.shapes import LENGTH, Numbers, Shapes

LEARNED: Final = 104
"""Blocks that are learned before anything is said, or more: all of the reference."""
USUAL_ROWS: Final = 4
"""Of a block, where the reference has not two for each of so many."""
MOST_REFERENCE: Final = 750
"""Rows of the reference that count, the latest."""
FIRST_VIGILANCE: Final = 0.80
HIGHEST_VIGILANCE: Final = 0.97
PAUSE: Final = 12
"""Blocks after something strange in which only what is stranger still is said."""
MOST_SHAPES: Final = 250
STRANGER: Final = (0.9, 0.7)
"""So much worse, as a factor, has a match to be to be said within the pause, and where shapes are unsettled."""
RISE: Final = 0.19
"""The lower vigilance goes this share of the way up to the worst match of late."""
SHORT: Final = (0.05, 0.37)
"""What matches fell short of the upper vigilance counts where it is more than the first, and up to the second."""
LEAST_FALL: Final = 0.01
WEIGHTS: Final = (0.35, 0.65, 1.5)
"""Of how far a match is below the upper vigilance and the lower one, and of how badly the latest value matches."""


def clock(reference_rows: int) -> tuple[int, int]:
    """How many rows a block has, and how many blocks are learned first, beside a reference of so many rows."""
    rows = min(reference_rows, MOST_REFERENCE)
    block = rows // LEARNED if rows >= 2 * LEARNED else USUAL_ROWS
    return block, max(LEARNED, rows // block)


class ShapeMemory:
    """Prototypes of shapes, each the part that all its shapes have in common (w in the paper, of complement codes)."""

    def __init__(self) -> None:
        # the first has everything in common with all shapes, and so matches none of them well
        self._known = np.ones((1, 4 * LENGTH))

    def match(self, shape: Numbers, vigilance: float) -> tuple[float, float]:
        """The best match of any prototype (0 to 1), and how well that one fits the latest value. The shape is learned.

        All that match by ``vigilance`` learn it; where none does it becomes a prototype.
        """
        coded = np.concatenate((shape, 1 - shape))
        common = np.minimum(self._known, coded)
        last = [len(shape) - 1, -1]
        fits = common[:, last].sum(axis=1) / np.maximum(self._known[:, last].sum(axis=1), 1e-12)
        match = (common.sum(axis=1) / np.maximum(self._known.sum(axis=1), 1e-3)) ** 3 * fits**2
        best = int(match.argmax())
        resonant = match >= vigilance
        if resonant.any():
            self._known[resonant] = common[resonant]
        else:
            self._known = np.concatenate((self._known[-MOST_SHAPES + 1 :], coded[None]))
        return float(match[best]), float(fits[best])

    def move(self, scale: float, start: float) -> None:
        """The range has widened: see ``Shapes.take``. Wavelets have no range."""
        values, complements = slice(LENGTH, 2 * LENGTH), slice(3 * LENGTH, 4 * LENGTH)
        self._known[:, values] = self._known[:, values] * scale + start
        self._known[:, complements] = self._known[:, complements] * scale + (1 - scale - start)

    def to_bytes(self) -> bytes:
        """All prototypes."""
        return self._known.tobytes()

    def restore(self, data: bytes) -> None:
        """The reverse of ``to_bytes``."""
        self._known = np.frombuffer(data, dtype=np.float64).reshape(-1, 4 * LENGTH).copy()


class Resonance:
    """Scores a series: 0 where its latest blocks resonate with what is known, up to 1 where they do with nothing.

    ``reference`` are rows that come right before those to be scored, few or many. A block's score is that of its last
    row; the other rows have 0.
    """

    def __init__(self, reference: Numbers) -> None:
        self._rows, self._learned = clock(len(reference))
        self._waiting = reference[-MOST_REFERENCE:]
        self._known: _Known | None = None

    def scores(self, values: Numbers) -> Numbers:
        """The scores of the next rows, all of them finite numbers."""
        scores = np.zeros(len(values))
        before = len(self._waiting)
        waiting, start = np.concatenate((self._waiting, values)), 0
        rows, learned = self._rows, self._learned
        if self._known is None and len(waiting) >= learned * rows:
            start = learned * rows
            self._known = _Known.learn(waiting[:start].reshape(learned, rows))
        if self._known is not None:
            while start + rows <= len(waiting):
                block, start = waiting[start : start + rows], start + rows
                scores[start - 1 - before] = self._known.score(block)
        self._waiting = waiting[start:].copy()
        return scores

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for msgpack."""
        known = None if self._known is None else self._known.to_dict()
        return {"rows": self._rows, "learned": self._learned, "waiting": self._waiting.tobytes(), "known": known}

    def restore(self, data: dict[str, Any]) -> None:
        """Go on from what ``to_dict`` gave."""
        self._rows, self._learned = data["rows"], data["learned"]
        self._waiting = np.frombuffer(data["waiting"], dtype=np.float64)
        self._known = None if data["known"] is None else _Known.restored(data["known"])


class _Known:
    """What is known of a series once it is learned, and how well that has matched of late."""

    def __init__(self, learned: int) -> None:
        self._learned = learned
        self._memory = ShapeMemory()
        self._block = 0
        self._matches: deque[float] = deque([1.0] * (learned // 2 + 1), learned // 2 + 1)
        self._short: deque[float] = deque([0.0] * (learned + 1), learned + 1)
        self._match_sum = 0.0
        self._strange = [0, 0.0, 0.0]  # how many were said, the sum of their worst matches, that of the latest
        self._said = [0, 0.0]  # the block that was said last, and its match
        self._moved_at, self._quiet, self._unsettled = 0, 0, False
        self._shapes = Shapes()
        self._lower = self._upper = FIRST_VIGILANCE

    @classmethod
    def learn(cls, blocks: NDArray[np.float64]) -> Self:
        """Learn the first blocks of a series (blocks, rows of each)."""
        known = cls(len(blocks))
        known._shapes.expect(blocks)
        shapes = [known._shapes.take(block)[0] for block in blocks]
        known._lower = known._upper = _usual_match(np.array([one for one in shapes if one is not None]), len(blocks))
        for shape in shapes:
            known._meet(shape)
        return known

    def score(self, block: Numbers) -> float:
        """The score of the next block."""
        shape, moved = self._shapes.take(block)
        if moved is not None:
            self._memory.move(*moved)
        return self._meet(shape)

    def _meet(self, shape: Numbers | None) -> float:
        self._block += 1
        match, fits = (0.0, 1.0) if shape is None else self._memory.match(shape, self._upper)
        new = match < self._lower
        since, learning = self._block - self._said[0], self._block <= self._learned
        if self._block > self._learned + PAUSE and self._quiet >= PAUSE:
            self._unsettled = False
        self._quiet = 0 if new else self._quiet + 1
        self._match_sum += match
        self._matches.append(match)
        self._short.append(self._upper - match)
        if since < PAUSE and self._strange[0] and match < self._strange[2]:
            # the worst match of a strange stretch stands for it
            self._strange[1] += match - self._strange[2]
            self._strange[2] = match
        within, elsewhere = STRANGER
        stranger = match < self._said[1] * (within if since <= PAUSE else elsewhere)
        score = 0.0
        if new and not learning and (stranger or not (self._unsettled or since <= PAUSE)):
            score = self._strangeness(match, fits)
            self._strange = [self._strange[0] + 1, self._strange[1] + match, match]
            self._said = [self._block, match]
        self._unsettled = self._unsettled or new
        if not learning and (since == PAUSE or self._block - self._moved_at >= self._learned // 2):
            self._move()
        return score

    def _strangeness(self, match: float, fits: float) -> float:
        far = 1 - min(match, 0.999)
        of_upper, of_lower, of_latest = WEIGHTS
        below_upper, below_lower = 1 - (1 - self._upper) / far, 1 - (1 - self._lower) / far
        return min(1.0, of_upper * below_upper + of_lower * below_lower + of_latest * (1 - fits))

    def _move(self) -> None:
        """Let the vigilances follow how well shapes have matched."""
        worst = min(self._matches)
        if self._lower <= worst:
            lower = self._lower + RISE * (worst - self._lower)
        else:
            least, most = SHORT
            short = [min(most, one) for one in self._short if one > least] if self._block > 2 * self._learned else []
            lower = self._lower - max(LEAST_FALL, sum(short) / max(len(short), 1)) / 2
            if self._strange[0]:
                lower = max(self._strange[1] / self._strange[0], lower)
        self._upper = min(HIGHEST_VIGILANCE, self._match_sum / self._block)
        self._lower = min(self._upper, lower)
        self._moved_at, self._unsettled = self._block, True

    def to_dict(self) -> dict[str, Any]:
        return {
            "learned": self._learned,
            "memory": self._memory.to_bytes(),
            "shapes": self._shapes.to_dict(),
            "vigilances": [self._lower, self._upper],
            "block": self._block,
            "matches": list(self._matches),
            "short": list(self._short),
            "match_sum": self._match_sum,
            "strange": self._strange,
            "said": self._said,
            "moved": [self._moved_at, self._quiet, self._unsettled],
        }

    @classmethod
    def restored(cls, data: dict[str, Any]) -> Self:
        known = cls(data["learned"])
        known._memory.restore(data["memory"])
        known._shapes.restore(data["shapes"])
        known._lower, known._upper = data["vigilances"]
        known._block, known._match_sum = data["block"], data["match_sum"]
        known._matches.extend(data["matches"])
        known._short.extend(data["short"])
        known._strange, known._said = list(data["strange"]), list(data["said"])
        known._moved_at, known._quiet, known._unsettled = data["moved"]
        return known


def _usual_match(shapes: Numbers, learned: int) -> float:
    """How well shapes match those before them, where the least typical come first: the vigilance to begin with."""
    length = np.linalg.norm(shapes, axis=1)
    directions = shapes / np.where(length > 0, length, 1.0)[:, None]
    alike = directions @ directions.T
    nothing = length == 0
    alike[nothing] = 1 - length
    alike[:, nothing] = (1 - length)[:, None]
    np.fill_diagonal(alike, 1.0)
    memory = ShapeMemory()
    order = np.argsort(alike.sum(axis=0), kind="stable")
    matches = [0.0, *(memory.match(shape, FIRST_VIGILANCE)[0] for shape in shapes[order][1:])]
    return float(np.mean(matches[learned // 2 - 1 :]))
