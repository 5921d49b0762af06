"""The page on the archive says what is so."""

import re
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest
from pipelines import World, batch
from s3_server import ACCESS_KEY, SECRET_KEY, S3Server
from seeded_events import label, line, prediction

from daemon.monitoring.options import MonitorOptions
from daemon.stores.engine import sqlite_url
from daemon.stores.migrate import upgrade
from retrain.storage import FolderStorage, open_storage
from retrain.storage.address import ACCESS_KEY as ACCESS_KEY_VARIABLE
from retrain.storage.address import OPTIONS, Keys
from retrain.storage.address import SECRET_KEY as SECRET_KEY_VARIABLE
from retrain.storage.base import Storage

PAGE = (Path(__file__).parents[2] / "docs" / "archive.md").read_text()
PANDAS, BUCKET = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


async def fill(folder: Path, storage: Storage) -> None:
    """40 predictions of version 3, 20 of them with a label, of which 15 are right."""
    url = sqlite_url(folder / "store.db")
    world = World(folder, options=MonitorOptions(reference_rows=10), storage=storage, file_rows=1, url=url)
    await upgrade(world.url)
    pipeline = await world.start()
    events = [prediction(number, Random(number), prediction=number % 2, version="3") for number in range(40)]
    labels = [label(number, int(number % 4 == 1)) for number in range(20)]
    await pipeline.process(batch(*(line(**one) for one in (*events, *labels))))
    await pipeline.flush()
    await world.close()


async def test_pandas_reads_it_as_the_page_says(tmp_path: Path) -> None:
    await fill(tmp_path, FolderStorage(tmp_path))
    known: dict[str, Any] = {"ARCHIVE": tmp_path}
    exec(PANDAS, known)  # noqa: S102 (the page's own words)
    assert known["accuracy"].to_dict() == {"3": pytest.approx(15 / 20)}


async def test_pyarrow_reads_it_from_a_bucket_as_the_page_says(tmp_path: Path, s3: S3Server) -> None:
    await fill(tmp_path, open_storage(s3.address(f"page/{tmp_path.name}"), Keys(ACCESS_KEY, SECRET_KEY)))
    options = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "endpoint_override": s3.endpoint}
    here = BUCKET.replace('region="eu-central-1"', f"**{options}").replace(
        "models/driftd/", f"driftd/page/{tmp_path.name}/"
    )
    known: dict[str, Any] = {}
    exec(here, known)  # noqa: S102 (likewise)
    assert len(known["events"]) == 40


async def test_the_page_names_every_column_and_every_setting(tmp_path: Path) -> None:
    await fill(tmp_path, FolderStorage(tmp_path))
    for file in (tmp_path / "archive" / "loans").iterdir():
        for column in pq.read_schema(file).names:
            assert f"`{column}`" in PAGE or column.startswith("feature:")
    for name in (*OPTIONS, ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE):
        assert f"`{name}`" in PAGE
