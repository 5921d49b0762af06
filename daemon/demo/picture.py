"""Accuracy over the demo, with what happened: drawn in a process of its own."""

import json
import sys
from pathlib import Path
from typing import Any

SMOOTHED_CHUNKS = 5
LOWEST = 0.4
INK, FAINT, GOOD, BAD, DRIFT = "#1f2933", "#9aa5b1", "#1b7f5c", "#c0392b", "#d08700"
SHADES = {"campaign": "#eef3f8", "rates": "#fdf3e7", "broken": "#fbeaea"}
TITLES = {"calm": "", "campaign": "campaign", "rates": "rates rise", "broken": "broken data"}


def main(source: str, target: str) -> None:
    """Draw what ``source`` (JSON) tells into ``target`` (PNG)."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    told = json.loads(Path(source).read_text())
    reports, events = told["reports"], told["events"]
    figure, axes = plt.subplots(figsize=(11, 5), dpi=140)
    last = reports[-1]["row"]
    _phases(axes, events, last)
    versions = list(dict.fromkeys(one["version"] for one in reports))
    for number, version in enumerate(versions):
        rows, values = _smooth([one for one in reports if one["version"] == version])
        axes.plot(rows, values, color=(INK, GOOD, "#2d6cdf", "#7a4fbf")[number % 4], lw=2, label=f"version {version}")
    for kind, colour, name in (
        ("drift", DRIFT, "drift alarm"),
        ("concept", BAD, "concept alarm"),
        ("quality", FAINT, "quality alarm"),
    ):
        rows = [one["row"] for one in events if one["what"] == kind]
        if rows:
            axes.plot(rows, [LOWEST + 0.025] * len(rows), "^", color=colour, ms=8, label=name, clip_on=False)
    for one in events:
        if one["what"] == "promoted":
            axes.axvline(one["row"], color=GOOD, lw=1.2, ls="--")
            axes.text(one["row"], LOWEST + 0.06, f" {one['text']} in service", color=GOOD, fontsize=9)
    axes.set(ylim=(LOWEST, 1.0), xlim=(0, last), xlabel="applications", ylabel="accuracy")
    axes.set_title("driftd: a loan model through a campaign, a changed world and a broken feed", loc="left", color=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False, ncols=5, fontsize=9)
    figure.tight_layout()
    figure.savefig(target)


def _phases(axes: Any, events: list[dict[str, Any]], last: int) -> None:
    phases = [one for one in events if one["what"] == "phase"]
    ends = [one["row"] for one in phases[1:]] + [last]
    for one, end in zip(phases, ends, strict=True):
        title = TITLES[one["text"]]
        if title:
            axes.axvspan(one["row"], end, color=SHADES[one["text"]], lw=0)
            near_the_end = one["row"] > 0.9 * last
            axes.text(
                end if near_the_end else one["row"],
                0.965,
                f"{title} " if near_the_end else f" {title}",
                ha="right" if near_the_end else "left",
                color=INK,
                fontsize=9,
                weight="bold",
            )


def _smooth(reports: list[dict[str, Any]]) -> tuple[list[int], list[float]]:
    rows, values = [], []
    for place in range(len(reports)):
        near = reports[max(0, place - SMOOTHED_CHUNKS + 1) : place + 1]
        rows.append(reports[place]["row"])
        values.append(sum(one["accuracy"] for one in near) / len(near))
    return rows, values


if __name__ == "__main__":
    main(*sys.argv[1:])
