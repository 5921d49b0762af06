"""Loan applications, and whether they are paid back: made up, seeded, and as unruly as the real ones."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any]

STATES = ("CA", "TX", "NY", "FL", "IL", "PA", "OH", "GA", "NC", "MI")
PURPOSES = ("car", "home", "debt", "education", "business", "other")
CHANNELS = ("web", "branch", "broker", "app")
HOMES = ("rent", "mortgage", "own")
SHARP = 2.6
"""How sharply the odds turn with what drives them: at this, the best possible model is right in about 87 of 100."""

UNKNOWN_EMPLOYMENTS = 0.03


class Phase(StrEnum):
    """What the world is like."""

    CALM = "calm"
    CAMPAIGN = "campaign"
    """Younger people apply, by the app and for less: the applications change, what becomes of them does not."""
    RATES = "rates"
    """Rates have risen: long loans and heavy debt now fail, whoever owns the house."""
    BROKEN = "broken"
    """After a release upstream, incomes arrive in cents and every third employment is lost."""


@dataclass(frozen=True, slots=True)
class Applications:
    """``features`` by name; ``unpaid`` is 1 where the loan is not paid back."""

    features: dict[str, Column]
    unpaid: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.unpaid)


class World:
    """A source of applications. The same seed gives the same ones."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def applications(self, count: int, phase: Phase) -> Applications:
        """The next ``count`` applications."""
        true = self._true_features(count, campaign=phase is Phase.CAMPAIGN)
        odds = _odds_after_rates(true) if phase in (Phase.RATES, Phase.BROKEN) else _odds(true)
        unpaid = (self._random.random(count) < 1 / (1 + np.exp(-SHARP * odds))).astype(np.int64)
        if phase is Phase.BROKEN:
            true["income"] = true["income"] * 100
            true["employment_years"][self._random.random(count) < 1 / 3] = np.nan
        return Applications(true, unpaid)

    def _true_features(self, count: int, *, campaign: bool) -> dict[str, Column]:
        random = self._random
        young = random.random(count) < (0.55 if campaign else 0.0)
        age = np.where(young, random.normal(26, 4, count), random.normal(43, 12, count)).clip(18, 80).round()
        income = np.exp(random.normal(10.85, 0.45, count) - np.where(young, 0.15, 0.0)).round(-2)
        employment = (random.gamma(2.0, 3.5, count) * (age - 16) / 27).clip(0, age - 16).round(1)
        employment[random.random(count) < UNKNOWN_EMPLOYMENTS] = np.nan
        return {
            "age": age,
            "income": income,
            "amount": (np.exp(random.normal(9.4, 0.55, count)) * np.where(young, 0.75, 1.0)).round(-2),
            "term_months": random.choice([12, 24, 36, 48, 60], count, p=[0.1, 0.2, 0.35, 0.15, 0.2]).astype(float),
            "credit_score": random.normal(690, 65, count).clip(400, 850).round(),
            "debt_to_income": random.beta(2.2, 4.5, count).round(3),
            "employment_years": employment,
            "open_loans": random.poisson(1.6, count).astype(float),
            "state": random.choice(STATES, count),
            "purpose": random.choice(PURPOSES, count, p=[0.28, 0.2, 0.24, 0.1, 0.08, 0.1]),
            "channel": np.where(
                young,
                random.choice(CHANNELS, count, p=[0.2, 0.05, 0.05, 0.7]),
                random.choice(CHANNELS, count, p=[0.45, 0.25, 0.15, 0.15]),
            ),
            "home": random.choice(HOMES, count, p=[0.4, 0.38, 0.22]),
        }


def _odds(one: dict[str, Column]) -> NDArray[np.float64]:
    """What drives the odds of a loan that fails, in units of which ``SHARP`` makes log-odds."""
    burden = one["amount"] / one["income"] * 36 / one["term_months"]
    return np.asarray(
        -0.65
        + 0.9 * (690 - one["credit_score"]) / 65
        + 1.1 * (burden - 0.25)
        + 0.8 * (one["debt_to_income"] - 0.33) / 0.17
        + 0.15 * (one["open_loans"] - 1.6)
        - 0.25 * (one["home"] == "own")
        + 0.25 * (one["purpose"] == "business")
    )


def _odds_after_rates(one: dict[str, Column]) -> NDArray[np.float64]:
    """The same once rates have risen: the term and the debt count for much, the score for little."""
    return np.asarray(
        -0.35
        + 0.25 * (690 - one["credit_score"]) / 65
        + 1.3 * (one["term_months"] - 36) / 16
        + 1.1 * (one["debt_to_income"] - 0.33) / 0.17
        + 0.35 * (one["home"] == "own")
    )
