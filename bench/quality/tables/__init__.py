"""The tables, in the order in which they are shown; a file each."""

from bench.quality.table import Table
from bench.quality.tables import (
    beside_alibi,
    cost,
    delay,
    employment_alarms,
    estimates,
    false_alarms,
    insects,
    many_features,
    ranking,
    reports,
    retraining,
    segments,
    series,
    strange_rows,
    triage,
    unchanged,
    wrong_estimates,
)

TABLES: tuple[Table, ...] = (
    delay.TABLE,
    false_alarms.TABLE,
    unchanged.TABLE,
    many_features.TABLE,
    employment_alarms.TABLE,
    insects.TABLE,
    retraining.TABLE,
    reports.TABLE,
    beside_alibi.TABLE,
    series.TABLE,
    strange_rows.TABLE,
    estimates.TABLE,
    wrong_estimates.TABLE,
    triage.SEEDED,
    triage.CREDIT,
    ranking.TABLE,
    segments.TABLE,
    cost.TABLE,
)
