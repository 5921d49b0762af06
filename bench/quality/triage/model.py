"""The model that is watched."""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from bench.quality.triage.world import Batch, Table


class Model:
    """A logistic regression on numbers and one column a level; what it cannot read it takes as usual."""

    def __init__(self, batch: Batch) -> None:
        self._usual: dict[str, tuple[float, float]] = {}
        self._levels: dict[str, list[str]] = {}
        for name, column in batch.features.items():
            if column.dtype == object:
                self._levels[name] = sorted(set(column.tolist()))
            else:
                self._usual[name] = float(np.nanmean(column)), float(np.nanstd(column)) or 1.0
        self._fitted = LogisticRegression(max_iter=300).fit(self._matrix(batch.features), batch.labels)

    def scores(self, features: Table) -> NDArray[np.float64]:
        return np.asarray(self._fitted.predict_proba(self._matrix(features))[:, 1])

    def _matrix(self, features: Table) -> NDArray[np.float64]:
        columns = []
        for name, column in features.items():
            if name in self._levels:
                columns += [(column == level).astype(np.float64) for level in self._levels[name]]
            else:
                mean, deviation = self._usual[name]
                columns.append(np.clip((np.where(np.isfinite(column), column, mean) - mean) / deviation, -50, 50))
        return np.stack(columns, axis=1)
