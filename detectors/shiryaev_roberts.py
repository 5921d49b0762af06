"""The recursion of Shiryaev and Roberts over many windows and many bets at once."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

LARGEST: Final = 1e60
"""Evidence is cut off here: far above any threshold, and ``CAP_EVERY`` windows later still no overflow."""
STEEPEST: Final = 50.0
"""The logarithm of what one window may do to a bet, either way."""
CAP_EVERY: Final = 8
MANY_BETS: Final = 128


def factors(log_likelihoods: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each window multiplies each bet by."""
    return np.exp(np.clip(log_likelihoods, -STEEPEST, STEEPEST))


def advance(
    factor: NDArray[np.float64], sizes: NDArray[np.int64], weights: NDArray[np.float64], before: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Evidence after each of W windows: R = (R + rows x weight) x factor, for A bets.

    ``factor`` is (W, A), ``sizes`` (W), ``weights`` and ``before`` (A). A new bet of the weight is placed for each row,
    on a change at that row; those of one window are placed at its start.
    """
    windows, bets = factor.shape
    if windows == 0:
        return factor.copy()
    uniform = bool((sizes == sizes[0]).all())
    stakes = weights * float(sizes[0]) if uniform else sizes[:, None] * weights
    if not uniform or bets >= MANY_BETS or windows < 16:  # noqa: PLR2004 (too few to cut into blocks)
        return _window_by_window(factor, np.broadcast_to(stakes, factor.shape), before)
    return _in_blocks(factor, np.asarray(stakes), before)


def _window_by_window(
    factor: NDArray[np.float64], stakes: NDArray[np.float64], before: NDArray[np.float64]
) -> NDArray[np.float64]:
    after = np.empty_like(factor)
    last = before
    for start in range(0, len(factor), CAP_EVERY):
        part = slice(start, start + CAP_EVERY)
        for row, stake, one in zip(after[part], stakes[part], factor[part], strict=True):
            # positional outputs: this is the innermost loop, and a keyword costs as much as the sum
            np.add(last, stake, row)
            np.multiply(row, one, row)
            last = row
        np.minimum(after[part], LARGEST, out=after[part])
    return after


def _in_blocks(
    factor: NDArray[np.float64], stakes: NDArray[np.float64], before: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The same for few bets and many windows: blocks side by side, then one after the other.

    Within a block R is ``grown`` x (R before the block) + ``fresh``, where neither depends on R before the block.
    """
    windows, bets = factor.shape
    length = int(np.sqrt(windows))
    blocks = windows // length
    whole = blocks * length
    # time first, so that each step works on consecutive memory
    cube = factor[:whole].reshape(blocks, length, bets).transpose(1, 0, 2).copy()
    grown = np.empty_like(cube)
    fresh = np.empty_like(cube)
    grown[0] = cube[0]
    np.multiply(cube[0], stakes, out=fresh[0])
    for t in range(1, length):
        np.multiply(grown[t - 1], cube[t], out=grown[t])
        np.minimum(grown[t], LARGEST, out=grown[t])
        np.add(fresh[t - 1], stakes, out=fresh[t])
        fresh[t] *= cube[t]
        np.minimum(fresh[t], LARGEST, out=fresh[t])
    starts = np.empty((blocks, bets))
    last = before
    for b in range(blocks):
        starts[b] = last
        last = np.minimum(grown[-1, b] * last + fresh[-1, b], LARGEST)
    grown *= starts
    grown += fresh
    np.minimum(grown, LARGEST, out=grown)
    after = np.empty_like(factor)
    after[:whole] = grown.transpose(1, 0, 2).reshape(whole, bets)
    if whole < windows:
        rest = factor[whole:]
        after[whole:] = _window_by_window(rest, np.broadcast_to(stakes, rest.shape), after[whole - 1])
    return after
