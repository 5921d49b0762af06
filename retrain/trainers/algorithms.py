"""The algorithms that the built-in trainer compares, each as one pipeline from a data frame to predictions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from retrain.job import Task

FEWEST_OF_CATEGORY: Final = 5
"""A category seen less often is as good as unknown."""
MOST_CATEGORIES: Final = 100
"""The most frequent; histogram gradient boosting takes at most 255 values of a feature."""
TREES: Final = 100


@dataclass(frozen=True, slots=True)
class Inputs:
    """The features that can be used: numbers, and for each text feature the categories worth knowing."""

    numbers: tuple[str, ...]
    categories: dict[str, list[str]]

    @property
    def names(self) -> list[str]:
        """All features, in the order of the pipelines."""
        return [*self.numbers, *self.categories]


def usable_inputs(frame: pd.DataFrame) -> Inputs:
    """What in ``frame`` (float64 or text columns) can tell rows apart."""
    numbers, categories = [], {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column):
            if not _is_constant(column):
                numbers.append(name)
            continue
        counts = column.value_counts()
        frequent = [str(value) for value, count in counts.items() if count >= FEWEST_OF_CATEGORY][:MOST_CATEGORIES]
        if frequent and counts.iloc[0] < len(column):
            categories[name] = sorted(frequent)
    return Inputs(tuple(numbers), categories)


def _is_constant(column: pd.Series) -> bool:
    first = column.iloc[0]
    return bool(column.isna().all() if pd.isna(first) else (column == first).all())


Algorithm = Callable[[Inputs, Task, int], Any]


def _encoded(inputs: Inputs) -> Any:
    """Categories as numbers, NaN for one that is missing, rare or unknown: null, None and NaN are then all the same."""
    from sklearn.preprocessing import OrdinalEncoder

    return OrdinalEncoder(
        categories=[np.array(names, dtype=object) for names in inputs.categories.values()],
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
    )


def _columns(inputs: Inputs, numbers: Any, categories: Any) -> Any:
    from sklearn.compose import ColumnTransformer

    parts = [("numbers", numbers, list(inputs.numbers)), ("categories", categories, list(inputs.categories))]
    return ColumnTransformer([part for part in parts if part[2]])


def linear(inputs: Inputs, task: Task, seed: int) -> Any:
    """Logistic or ridge regression on scaled numbers and one column per category."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    categories = make_pipeline(_encoded(inputs), OneHotEncoder(handle_unknown="ignore"))
    model = Ridge() if task == "regression" else LogisticRegression(max_iter=1000, random_state=seed)
    return make_pipeline(_columns(inputs, numbers, categories), model)


def forest(inputs: Inputs, task: Task, seed: int) -> Any:
    """A random forest; missing values go down the branch that suits them better."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.pipeline import make_pipeline

    settings = {"n_estimators": TREES, "min_samples_leaf": 3, "n_jobs": 1, "random_state": seed}
    model = (
        RandomForestRegressor(max_features=1 / 3, **settings)
        if task == "regression"
        else RandomForestClassifier(max_features="sqrt", **settings)
    )
    return make_pipeline(_columns(inputs, "passthrough", _encoded(inputs)), model)


def boosting(inputs: Inputs, task: Task, seed: int) -> Any:
    """Histogram gradient boosting with its own treatment of categories and missing values."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.pipeline import make_pipeline

    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    first = len(inputs.numbers)
    model = kind(
        categorical_features=list(range(first, first + len(inputs.categories))) or None,
        early_stopping=False,
        max_iter=TREES,
        learning_rate=0.08,
        random_state=seed,
    )
    return make_pipeline(_columns(inputs, "passthrough", _encoded(inputs)), model)


ALGORITHMS: Final[dict[str, Algorithm]] = {"linear": linear, "random_forest": forest, "gradient_boosting": boosting}
