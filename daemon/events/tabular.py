"""Files of history -> rows: CSV, CSV.gz and Parquet, one row an event, and NDJSON events."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from daemon.events.columns import Column, column_of
from daemon.events.rows import Labels, Predictions

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 5_000
TYPED_ROWS = 1_000
MOSTLY_NUMBERS = 0.95
"""A column of a CSV file is one of numbers where so large a share of its first values are."""
TABLE_SUFFIXES = (".csv", ".csv.gz", ".parquet", ".pq")


class CannotRead(ValueError):
    """The file is not what was expected; the text says what was, and what came."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a table mean what. None means that it has no such column."""

    id: str | None = None
    time: str | None = None
    prediction: str | None = None
    score: str | None = None
    label: str | None = None
    features: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()

    def named(self) -> list[str]:
        """The columns that are no features."""
        return [name for name in (self.id, self.time, self.prediction, self.score, self.label) if name is not None]


USUAL_NAMES = {
    "id": ("id", "prediction_id", "identifier"),
    "time": ("ts", "timestamp", "time"),
    "prediction": ("prediction", "y_pred", "prediction_label"),
    "score": ("score", "y_pred_proba", "predicted_probability", "prediction_score"),
    "label": ("label", "target", "y_true", "actual_label"),
}


def complete(layout: Layout, columns: Iterable[str]) -> Layout:
    """Fill in what was not said with the usual names, where the table has them.

    Raises CannotRead where a named column is not there.
    """
    present = list(columns)
    wanted = [*layout.named(), *(layout.features or ())]
    for name in wanted:
        if name not in present:
            raise CannotRead(f"no column {name!r}; there are: {', '.join(present[:40])}")
    usual = {part: next((name for name in names if name in present), None) for part, names in USUAL_NAMES.items()}
    return Layout(
        layout.id or usual["id"],
        layout.time or usual["time"],
        layout.prediction or usual["prediction"],
        layout.score or usual["score"],
        layout.label or usual["label"],
        layout.features,
        layout.exclude,
    )


@dataclass(frozen=True, slots=True)
class Table:
    """Rows ``first`` and on of a table as events: predictions, and their labels (None where a row has none)."""

    first: int
    predictions: Predictions
    labels: list[Any] | None = None

    def __len__(self) -> int:
        return len(self.predictions)


@dataclass(slots=True)
class TableReader:
    """Reads tables in pieces of ``chunk_rows``, rows of all files counted on."""

    layout: Layout
    chunk_rows: int = CHUNK_ROWS
    rows: int = 0
    file_rows: int = field(default=0, init=False)
    """Of the file that is being read."""
    found: Layout | None = field(default=None, init=False)

    def read(self, path: Path) -> Iterator[Table]:
        """The pieces of one file. Raises CannotRead, naming file and reason."""
        try:
            for frame, rows in _frames(path, self.chunk_rows, self.layout):
                self.file_rows = rows
                self.found = complete(self.layout, map(str, frame.columns))
                yield table_of(frame, self.found, self.rows)
                self.rows += len(frame)
        except CannotRead as error:
            raise CannotRead(f"{path}: {error}") from None
        except FileNotFoundError:
            raise CannotRead(f"{path}: there is no such file") from None
        except (ValueError, OSError, EOFError, KeyError) as error:
            raise CannotRead(f"{path}: {error}") from error


def is_table(path: Path) -> bool:
    """Whether the name says CSV or Parquet; everything else is taken as NDJSON."""
    return path.name.lower().endswith(TABLE_SUFFIXES)


def _frames(path: Path, chunk_rows: int, layout: Layout | None = None) -> Iterator[tuple["pd.DataFrame", int]]:
    """Pieces of a file, each with the number of rows of all of it; ``layout`` tells features from all else."""
    import pandas as pd

    if path.suffix.lower() in (".parquet", ".pq"):
        import pyarrow.parquet as pq

        file = pq.ParquetFile(path)
        for batch in file.iter_batches(chunk_rows):
            yield batch.to_pandas(), file.metadata.num_rows
        return
    # types are those of the whole file, so that a column does not change its type from piece to piece
    frame = pd.read_csv(path, low_memory=False)
    if layout is not None:
        names = [str(name) for name in frame.columns]
        for name in set(names) - set(complete(layout, names).named()):
            frame[name] = _number_if_it_began_as_one(frame[name])
    for start in range(0, len(frame), chunk_rows):
        yield frame.iloc[start : start + chunk_rows], len(frame)


def _number_if_it_began_as_one(series: "pd.Series") -> "pd.Series":
    """A column of text whose first values are numbers, as a stream has them: what is none of the rest is invalid."""
    import pandas as pd

    if not pd.api.types.is_object_dtype(series) and not pd.api.types.is_string_dtype(series):
        return series
    present = series.notna()
    first = series[present].head(TYPED_ROWS)
    if not len(first) or pd.to_numeric(first, errors="coerce").notna().mean() < MOSTLY_NUMBERS:
        return series
    if not all(isinstance(one, str) for one in first):
        return series  # right and wrong
    numbers = pd.to_numeric(series, errors="coerce").astype(np.float64)
    return numbers.where(numbers.notna() | ~present, np.inf)


def table_of(frame: "pd.DataFrame", layout: Layout, first: int = 0) -> Table:
    """A frame as events. Rows without an id get their number as one, so that labels find them."""
    count = len(frame)
    numbers = np.arange(first, first + count)
    named = set(layout.named()) | set(layout.exclude)
    names = layout.features or [str(name) for name in frame.columns if str(name) not in named]
    ids = [str(one) for one in (_plain(frame[layout.id]) if layout.id else numbers.tolist())]
    score = np.full(count, np.nan)
    if layout.score:
        score = column_of(_plain(frame[layout.score]), "number")
    values: list[Any] = [None] * count
    if layout.prediction:
        values = _plain(frame[layout.prediction])
    elif layout.score:
        values = [None if np.isnan(one) else str(int(one >= 0.5)) for one in score]  # noqa: PLR2004 (the usual cut)
    predictions = Predictions(
        numbers,
        list(ids),
        _times(frame[layout.time]) if layout.time else numbers.astype(np.float64),
        [None] * count,
        [None] * count,
        values,
        score,
        None,
        {name: _feature(frame[name]) for name in names},
        None,
    )
    return Table(first, predictions, _plain(frame[layout.label]) if layout.label else None)


def labels_of(path: Path, layout: Layout) -> tuple[dict[str, Any] | None, list[Any]]:
    """The labels of a file of their own: by id where it has the id's column, and in its order.

    The label is the column named in ``layout``, or the one column that is not the id.
    """
    import pandas as pd

    frame = pd.concat([piece for piece, _ in _frames(path, CHUNK_ROWS)], ignore_index=True)
    others = [str(name) for name in frame.columns if str(name) != layout.id]
    name = layout.label if layout.label in others else others[0] if len(others) == 1 else None
    if name is None:
        raise CannotRead(f"{path}: which column is the label? --label names it; there are: {', '.join(others)}")
    labels = _plain(frame[name])
    if layout.id is None or layout.id not in frame.columns:
        return None, labels
    return dict(zip(map(str, _plain(frame[layout.id])), labels, strict=True)), labels


def _feature(series: "pd.Series") -> Column:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    return column_of(_plain(series))


def _plain(series: "pd.Series") -> list[Any]:
    missing = series.isna()
    values = series.astype(object).tolist()
    return [None if gone else value for value, gone in zip(values, missing, strict=True)] if missing.any() else values


def _times(series: "pd.Series") -> Column:
    import pandas as pd

    if pd.api.types.is_numeric_dtype(series):
        return series.to_numpy(dtype=np.float64)
    stamps = pd.to_datetime(series, utc=True)
    return (stamps - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(dtype=np.float64)


def labels_at(places: list[int], ids: list[str | None], values: list[Any], order: int, ts: float) -> Labels | None:
    """Label events for the rows at ``places`` whose label is there."""
    known = [place for place in places if values[place] is not None]
    if not known:
        return None
    return Labels(
        np.full(len(known), order),
        [str(ids[place]) for place in known],
        np.full(len(known), ts),
        [values[place] for place in known],
    )
