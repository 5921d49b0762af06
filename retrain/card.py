"""The model card: a page for whoever has to answer for a version.

After Mitchell et al. 2019, "Model cards for model reporting", reduced to what is known without asking anybody.
"""

from datetime import UTC, datetime
from typing import Any

from retrain.base import Candidate
from retrain.dataset import DatasetManifest
from retrain.gate import Judgement
from retrain.job import Job


def model_card(job: Job, dataset: DatasetManifest, candidate: Candidate, judgement: Judgement) -> str:
    """The card as Markdown."""
    champion = job.champion.version if job.champion and job.champion.version else "the model in service"
    first, last = dataset.ts_range
    lines = [
        f"# {job.model}, version {job.version}",
        "",
        f"{candidate.algorithm} for a {job.task} task, made by retrain {job.job}.",
        "",
        "## Data",
        "",
        f"- {dataset.rows} labelled rows, from {dataset.row_range[0]} to {dataset.row_range[1]}",
        f"- predicted from {_time(first)} to {_time(last)}",
        f"- {dataset.training_rows} to train on, the {dataset.evaluation_rows} later ones to judge by",
        f"- labels received by {_time(dataset.cutoff_ts)}",
        f"- labels: {', '.join(f'{name} {_figure(value)}' for name, value in sorted(dataset.labels.items()))}",
        f"- features: {', '.join(map(str, candidate.details.get('features', [])))}",
        f"- content hash: {dataset.hash}",
    ]
    if dataset.fell_back:
        lines.append("- holds rows from before the change, because there were too few after it")
    lines += ["", f"## On the later rows, beside {champion}", "", "| | champion | this version |", "|---|---|---|"]
    ours, theirs = judgement.metrics["challenger"], judgement.metrics["champion"]
    lines += [f"| {name.replace('_', ' ')} | {_figure(theirs[name])} | {_figure(ours[name])} |" for name in ours]
    reasons = ", ".join(reason.value for reason in judgement.reasons)
    lines += ["", f"## Gate: {judgement.outcome} ({reasons})", ""]
    lines += [f"- {check.reason.value}: {check.text} [{check.outcome}]" for check in judgement.checks]
    if judgement.slices:
        lines += ["", "| slice | rows | champion's loss | this version's | gain |", "|---|---|---|---|---|"]
        lines += [
            f"| {_cell(f'{one.attribute} = {one.value}')} | {one.rows} | {_figure(one.champion_loss)}"
            f" | {_figure(one.challenger_loss)} | {one.gain:+.4f} |"
            for one in judgement.slices
        ]
    lines += ["", "## Limits", "", "Judged on the rows above and on no others; not examined for uses beyond them.", ""]
    return "\n".join(lines)


def _time(ts: float | None) -> str:
    if ts is None:
        return "an unknown time"
    return datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _figure(value: Any) -> str:
    return "unknown" if value is None else f"{value:.4g}" if value != int(value) else str(int(value))
