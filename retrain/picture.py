"""Champion against challenger over the rows that they were judged by, as a PNG."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy import float64
from numpy.typing import NDArray

from retrain.evaluation import Evaluation
from retrain.gate import Judgement

PICTURE_FILE: Final = "challenger.png"
CHUNKS: Final = 20
FEWEST_PER_CHUNK: Final = 10
CHAMPION, CHALLENGER = "#8a8f98", "#2563eb"


def draw(evaluation: Evaluation, judgement: Judgement, title: str, folder: Path) -> Path | None:
    """The mean loss of both by chunk of rows. None where there are too few rows to draw."""
    chunks = min(CHUNKS, len(evaluation) // FEWEST_PER_CHUNK)
    if not chunks:
        return None
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = evaluation.table.column("row").to_numpy()
    places = [float(part.mean()) for part in np.array_split(rows, chunks)]
    figure, axes = plt.subplots(figsize=(8, 3.6), dpi=110, layout="constrained")
    for name, said, colour in (
        ("champion", evaluation.champion, CHAMPION),
        ("challenger", evaluation.challenger, CHALLENGER),
    ):
        losses = evaluation.losses(said)
        axes.plot(places, _means(losses, chunks), color=colour, marker="o", markersize=3, label=name)
        axes.axhline(float(np.nanmean(losses)), color=colour, linewidth=0.8, linestyle=":")
    gain = judgement.gain
    ends = " to ".join("?" if end is None else f"{end:+.3f}" for end in (gain.low, gain.high))
    axes.set_title(f"{title}: {judgement.outcome}, gain {gain.estimate:+.3f} ({ends})", fontsize=10, loc="left")
    axes.set_xlabel("row")
    axes.set_ylabel("share of errors" if not evaluation.relative and gain.loss == "error" else f"mean {gain.loss}")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    file = folder / PICTURE_FILE
    figure.savefig(file)
    plt.close(figure)
    return file


def _means(losses: NDArray[float64], chunks: int) -> list[float]:
    return [float(np.nanmean(part)) if np.isfinite(part).any() else np.nan for part in np.array_split(losses, chunks)]
