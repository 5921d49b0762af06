"""The dataset of a retrain holds what was known at its cut-off, once, and is fixed by its hash."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from archive_rows import make_archive, make_job, write_rows
from hypothesis import given
from hypothesis import strategies as st

from retrain.archive import read
from retrain.base import Reason, RetrainError
from retrain.dataset import SNAPSHOT_FILE, content_hash, feature_names, make_dataset
from retrain.joins import labelled_rows

SMALL = {"minimum_rows": 10}


def events(folder: Path, name: str = "events.parquet", **columns: Any) -> str:
    rows = len(next(iter(columns.values())))
    columns = {"row": list(range(rows)), "id": [f"row-{row}" for row in range(rows)], **columns}
    columns = {"ts": [float(row) for row in columns["row"]], "prediction": ["1"] * rows, **columns}
    return write_rows(folder / name, **columns)


def labels(folder: Path, name: str = "labels.parquet", **columns: Any) -> str:
    rows = len(columns["id"])
    return write_rows(folder / name, **{"received": [1.0] * rows, "label": ["1"] * rows, **columns})


def rows_of(folder: Path, task: str = "binary", first_row: int = 0, **dataset: Any) -> pa.Table:
    given_files = {"files": [str(folder / "events.parquet")], "labels": [str(folder / "labels.parquet")]}
    return labelled_rows(make_job(folder, task, dataset=given_files | dataset), first_row)


def test_latest_label_received_by_the_cutoff_wins(tmp_path: Path) -> None:
    events(tmp_path, feature_a=[1.0, 2.0])
    labels(
        tmp_path,
        id=["row-0", "row-0", "row-0", "row-1"],
        received=[20.0, 10.0, 9e9, 9e9],  # the first row revises the second; the others come after the cut-off
        label=["1", "0", "0", "1"],
    )
    table = rows_of(tmp_path)
    assert table.column("id").to_pylist() == ["row-0"]
    assert table.column("label").to_pylist() == [1]


def test_of_labels_received_together_the_last_written_wins(tmp_path: Path) -> None:
    events(tmp_path, feature_a=[1.0])
    labels(tmp_path, id=["row-0", "row-0"], label=["0", "1"])
    assert rows_of(tmp_path).column("label").to_pylist() == [1]


def test_first_prediction_of_an_id_wins_and_a_row_without_id_has_no_label(tmp_path: Path) -> None:
    events(tmp_path, id=["a", "a", None], row=[5, 2, 1], prediction=["late", "early", "?"], feature_a=[5.0, 2.0, 1.0])
    labels(tmp_path, id=["a"])
    table = rows_of(tmp_path)
    assert table.column("row").to_pylist() == [2]
    assert table.column("prediction").to_pylist() == ["early"]


def test_features_that_came_apart_fill_only_predictions_without_any(tmp_path: Path) -> None:
    events(tmp_path, feature_a=[None, 2.0, None], feature_c=["x", "y", None])
    labels(tmp_path, id=["row-0", "row-1", "row-2"])
    apart = write_rows(
        tmp_path / "apart.parquet",
        id=["row-1", "row-2", "row-2", "row-0"],
        ts=[1.0] * 4,
        feature_a=[90.0, 30.0, 91.0, 92.0],
        feature_b=["n", "yes", "n", "n"],
    )
    table = rows_of(tmp_path, features=[apart])
    assert table.column("feature:a").to_pylist() == [None, 2.0, 30.0]
    assert table.column("feature:b").to_pylist() == [None, None, "yes"]
    assert table.column("feature:c").to_pylist() == ["x", "y", None]


def test_features_from_after_the_cutoff_are_not_known(tmp_path: Path) -> None:
    events(tmp_path, feature_a=pa.nulls(1, pa.float64()))
    labels(tmp_path, id=["row-0"])
    apart = write_rows(tmp_path / "apart.parquet", id=["row-0"], ts=[9e9], feature_a=[1.0])
    assert rows_of(tmp_path, features=[apart]).column("feature:a").to_pylist() == [None]


def test_quarantined_rows_and_excluded_features_stay_out(tmp_path: Path) -> None:
    events(tmp_path, feature_a=[0.0, 1.0, 2.0, 3.0], feature_customer=["p", "q", "r", "s"])
    labels(tmp_path, id=[f"row-{row}" for row in range(4)])
    table = rows_of(tmp_path, quarantine=[(1, 3)], exclude=["customer"])
    assert table.column("row").to_pylist() == [0, 3]
    assert feature_names(table) == ["a"]


def test_invalid_values_are_missing(tmp_path: Path) -> None:
    events(tmp_path, feature_a=[np.inf, -np.inf, 1.0], feature_b=["\0invalid", "ok", None])
    labels(tmp_path, id=["row-0", "row-1", "row-2"])
    table = rows_of(tmp_path)
    assert table.column("feature:a").to_pylist() == [None, None, 1.0]
    assert table.column("feature:b").to_pylist() == [None, "ok", None]


@pytest.mark.parametrize(
    ("number_rows", "text_rows", "expected"),
    [(3, 1, [0.0, 1.0, 2.0, 7.0]), (1, 3, ["0", "7", "x", "x"])],
    ids=["mostly numbers", "mostly text"],
)
def test_a_feature_whose_type_changed_is_what_most_rows_are(
    tmp_path: Path, number_rows: int, text_rows: int, expected: list[Any]
) -> None:
    one = events(tmp_path, "one.parquet", feature_a=[float(row) for row in range(number_rows)])
    rows = list(range(number_rows, number_rows + text_rows))
    texts = ["7", "x", "x"][:text_rows]
    two = events(tmp_path, "two.parquet", row=rows, id=[f"row-{row}" for row in rows], feature_a=texts)
    labels(tmp_path, id=[f"row-{row}" for row in range(4)])
    assert rows_of(tmp_path, files=[one, two]).column("feature:a").to_pylist() == expected


def test_text_of_digits_stays_a_category(tmp_path: Path) -> None:
    events(tmp_path, feature_zip=["01234", "56789"])
    labels(tmp_path, id=["row-0", "row-1"])
    assert rows_of(tmp_path).column("feature:zip").to_pylist() == ["01234", "56789"]


def test_a_class_is_the_same_however_it_was_written(tmp_path: Path) -> None:
    events(tmp_path, prediction=[1.0, 0.0], feature_a=[1.0, 2.0])
    labels(tmp_path, id=["row-0", "row-1"], label=["1", "0"])
    table = rows_of(tmp_path)
    assert table.column("prediction").to_pylist() == ["1", "0"]
    assert table.column("label").to_pylist() == [1, 0]


def test_labels_that_are_no_numbers_are_dropped_from_a_regression(tmp_path: Path) -> None:
    events(tmp_path, prediction=[1.0, 2.0, 3.0], feature_a=[1.0, 2.0, 3.0])
    labels(tmp_path, id=["row-0", "row-1", "row-2"], label=[1.5, np.nan, np.inf])
    assert rows_of(tmp_path, "regression").column("label").to_pylist() == [1.5]


def test_training_comes_before_evaluation_which_shows_no_answers(tmp_path: Path) -> None:
    make_archive(tmp_path, rows=400)
    dataset = make_dataset(make_job(tmp_path), tmp_path)
    training, inputs = dataset.training(), dataset.evaluation_inputs()
    assert training.num_rows == 280
    assert inputs.num_rows == 120
    assert max(training.column("row").to_pylist()) < min(inputs.column("row").to_pylist())
    assert set(inputs.schema.names) == {"row", "ts"} | {f"feature:{name}" for name in dataset.features}


def test_the_gate_gets_its_minimum_of_rows(tmp_path: Path) -> None:
    make_archive(tmp_path, rows=200)
    dataset = make_dataset(make_job(tmp_path, gate={"minimum_rows": 150}), tmp_path)
    assert (dataset.manifest.training_rows, dataset.manifest.evaluation_rows) == (50, 150)


def test_only_rows_after_the_change_unless_the_job_says_otherwise(tmp_path: Path) -> None:
    make_archive(tmp_path, rows=600)
    settings = {"since_row": 500, "gate": SMALL}
    strict = make_dataset(make_job(tmp_path, **settings), tmp_path).manifest
    assert strict.row_range == (500, 599)
    assert not strict.fell_back
    enough = make_job(tmp_path, dataset={"minimum_rows": 100, "fallback_row": 300}, **settings)
    assert make_dataset(enough, tmp_path).manifest.row_range == (500, 599)
    lenient = make_job(tmp_path, dataset={"minimum_rows": 101, "fallback_row": 300}, **settings)
    manifest = make_dataset(lenient, tmp_path).manifest
    assert manifest.row_range == (300, 599)
    assert manifest.fell_back
    assert manifest.since_row == 300


def test_the_newest_rows_up_to_the_maximum(tmp_path: Path) -> None:
    make_archive(tmp_path, rows=600)
    job = make_job(tmp_path, dataset={"maximum_rows": 150}, until_row=500, gate=SMALL)
    assert make_dataset(job, tmp_path).manifest.row_range == (350, 499)


def test_manifest_says_what_the_snapshot_holds(tmp_path: Path) -> None:
    make_archive(tmp_path, rows=300)
    dataset = make_dataset(make_job(tmp_path), tmp_path)
    stored = pq.read_table(tmp_path / SNAPSHOT_FILE)
    manifest = dataset.manifest
    assert manifest.hash == content_hash(stored)
    assert manifest.rows == stored.num_rows == 300
    assert manifest.ts_range == (1_000_000.0, 1_000_299.0)
    assert sum(manifest.labels.values()) == 300
    assert manifest.columns["feature:region"] == "text"
    assert manifest.files == ("events.parquet", "labels.parquet")


@given(cuts=st.sets(st.integers(1, 39), max_size=4), group=st.integers(1, 40), backwards=st.booleans())
def test_hash_is_that_of_the_content_whatever_the_layout(
    tmp_path_factory: pytest.TempPathFactory, cuts: set[int], group: int, *, backwards: bool
) -> None:
    folder = tmp_path_factory.mktemp("layout")
    make_archive(folder, rows=40)
    job = make_job(folder)
    whole = pq.read_table(folder / "events.parquet")
    edges = [0, *sorted(cuts), 40]
    files = []
    for number, (first, end) in enumerate(pairwise(edges)):
        part = whole.slice(first, end - first)
        columns = part.schema.names[::-1] if backwards else part.schema.names
        file = folder / f"part-{number}.parquet"
        pq.write_table(part.select(columns), file, row_group_size=group)
        files.append(str(file))
    split = make_job(folder, dataset={"files": files[::-1] if backwards else files})
    assert content_hash(labelled_rows(split, 0)) == content_hash(labelled_rows(job, 0))


@pytest.mark.parametrize("name", ["feature:age", "feature:region", "label", "prediction", "row"])
def test_hash_changes_with_any_value(tmp_path: Path, name: str) -> None:
    make_archive(tmp_path, rows=60)
    table = labelled_rows(make_job(tmp_path), 0)
    values = table.column(name).to_pylist()
    values[7] = None if values[7] is not None and name != "row" else 99
    changed = table.set_column(
        table.schema.get_field_index(name), name, pa.array(values, table.schema.field(name).type)
    )
    assert content_hash(changed) != content_hash(table)


def test_hash_tells_where_one_text_ends(tmp_path: Path) -> None:
    assert content_hash(pa.table({"a": ["ab", "c"]})) != content_hash(pa.table({"a": ["a", "bc"]}))
    assert content_hash(pa.table({"a": ["", "c"]})) != content_hash(pa.table({"a": [None, "c"]}))


def failure(folder: Path, task: str = "binary", **settings: Any) -> RetrainError:
    with pytest.raises(RetrainError) as raised:
        make_dataset(make_job(folder, task, **settings), folder)
    assert raised.value.hint
    return raised.value


def test_too_few_rows(tmp_path: Path) -> None:
    make_archive(tmp_path, rows=100)
    assert failure(tmp_path).reason is Reason.TOO_FEW_ROWS
    assert failure(tmp_path, since_row=5_000).reason is Reason.TOO_FEW_ROWS
    assert failure(tmp_path, dataset={"files": []}).reason is Reason.TOO_FEW_ROWS
    assert failure(tmp_path, dataset={"labels": []}).reason is Reason.TOO_FEW_ROWS


def test_one_class(tmp_path: Path) -> None:
    events(tmp_path, feature_a=[float(row) for row in range(200)])
    labels(tmp_path, id=[f"row-{row}" for row in range(200)])
    assert failure(tmp_path).reason is Reason.ONE_CLASS


def test_no_features(tmp_path: Path) -> None:
    events(tmp_path, prediction=["1"] * 200)
    labels(tmp_path, id=[f"row-{row}" for row in range(200)])
    assert failure(tmp_path).reason is Reason.NO_FEATURES


def test_quantities_given_as_classes(tmp_path: Path) -> None:
    events(tmp_path, feature_a=[float(row) for row in range(200)])
    labels(tmp_path, id=[f"row-{row}" for row in range(200)], label=[float(row) for row in range(200)])
    error = failure(tmp_path)
    assert error.reason is Reason.BAD_SETTING
    assert "regression" in error.hint


@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    make_archive(tmp_path, rows=200)
    file = tmp_path / "events.parquet"
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:500] if damage == "cut" else b"not parquet")
    error = failure(tmp_path)
    assert error.reason is Reason.BAD_ARCHIVE
    assert "events.parquet" in error.message


def test_folders_of_the_path_are_no_columns(tmp_path: Path) -> None:
    folder = tmp_path / "row=3"
    folder.mkdir()
    file = write_rows(folder / "one.parquet", id=["a"])
    assert read([file]).schema.names == ["id"]
