"""What every storage keeps to: a folder and S3, the latter before a server of its own."""

import os
import threading
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import storage as fixture
from s3_server import ACCESS_KEY, SECRET_KEY

from retrain.storage import STORAGES, open_storage
from retrain.storage.address import Keys, take_keys
from retrain.storage.base import Storage

ODD_NAMES = ["a/b.bin", "archive/a%2Fb c/events-1.parquet", "models/ü~1/3/MODEL_CARD.md", "jobs/1/x+y&z=1.png"]
FIVE_PARTS = 50 << 20


def write(storage: Storage, name: str, content: bytes = b"content") -> None:
    with storage.create(name) as sink:
        sink.write(content)


def read(storage: Storage, name: str) -> bytes:
    with storage.open(name) as source:
        found: bytes = source.read()
    return found


def names(storage: Storage, below: str) -> set[str]:
    return {one.name for one in storage.files(below)}


def test_every_kind_is_tested() -> None:
    assert set(fixture._fixture_function_marker.params) == set(STORAGES)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_what_was_written_is_there_under_its_name(storage: Storage, name: str) -> None:
    write(storage, name)
    assert read(storage, name) == b"content"
    [found] = storage.files(name.split("/", maxsplit=1)[0])
    assert (found.name, found.bytes) == (name, 7)


def test_a_storage_with_nothing_in_it_lists_nothing(storage: Storage) -> None:
    assert storage.files("archive") == []


def test_a_list_is_of_one_folder_and_what_is_below_it(storage: Storage) -> None:
    for name in ("jobs/7/a", "jobs/7/b/c", "jobs/70/a", "models/7/a"):
        write(storage, name)
    assert names(storage, "jobs/7") == {"jobs/7/a", "jobs/7/b/c"}
    assert names(storage, "jobs") == {"jobs/7/a", "jobs/7/b/c", "jobs/70/a"}


def test_a_file_tells_when_it_was_written(storage: Storage, tmp_path: Path) -> None:
    write(storage, "a/b")
    (tmp_path / "now").touch()
    [found] = storage.files("a")
    assert abs(found.modified - (tmp_path / "now").stat().st_mtime) < 600


def test_a_block_that_fails_leaves_no_file(storage: Storage) -> None:
    def fail() -> None:
        with storage.create("a/b") as sink:
            sink.write(b"half of")
            raise RuntimeError("the power fails")

    with pytest.raises(RuntimeError, match="power"):
        fail()
    assert storage.files("a") == []
    with pytest.raises(FileNotFoundError):
        read(storage, "a/b")


def test_before_the_end_of_the_block_nobody_sees_the_file(storage: Storage) -> None:
    with storage.create("a/b") as sink:
        sink.write(b"half of")
        with pytest.raises(FileNotFoundError):
            read(storage, "a/b")
    assert read(storage, "a/b") == b"half of"


def test_a_file_is_replaced_as_a_whole(storage: Storage) -> None:
    write(storage, "a/b", b"the longer one")
    write(storage, "a/b", b"short")
    assert read(storage, "a/b") == b"short"
    assert len(storage.files("a")) == 1


@pytest.mark.parametrize("size", [0, 1, FIVE_PARTS + 1])
def test_files_of_any_size_come_back_as_they_were(storage: Storage, tmp_path: Path, size: int) -> None:
    there, back = tmp_path / "there", tmp_path / "deep" / "back"
    there.write_bytes(os.urandom(size))
    storage.put(there, "models/m/1/model.bin")
    storage.fetch("models/m/1/model.bin", back)
    assert back.read_bytes() == there.read_bytes()
    assert [one.bytes for one in storage.files("models")] == [size]


def test_a_file_that_is_not_there_is_said_not_to_be(storage: Storage, tmp_path: Path) -> None:
    write(storage, "a/b")
    with pytest.raises(FileNotFoundError):
        storage.open("a/c")
    with pytest.raises(FileNotFoundError):
        storage.fetch("a/c", tmp_path / "c")
    assert not (tmp_path / "c").exists()
    storage.remove("a/c")
    assert names(storage, "a") == {"a/b"}


def test_what_is_removed_is_gone(storage: Storage) -> None:
    write(storage, "a/b")
    write(storage, "a/c")
    storage.remove("a/b")
    assert names(storage, "a") == {"a/c"}
    storage.remove("a/c")
    assert storage.files("a") == []


def test_rows_are_read_by_what_the_file_says_of_them(storage: Storage) -> None:
    with storage.create("archive/m/events.parquet") as sink:
        pq.write_table(pa.table({"row": range(1_000)}), sink, row_group_size=100)
        size = sink.tell()
    assert [one.bytes for one in storage.files("archive")] == [size]
    with storage.open("archive/m/events.parquet") as source:
        found = pq.read_table(source, filters=[("row", ">=", 990)])
    assert found.column("row").to_pylist() == list(range(990, 1_000))


def test_another_node_sees_the_same_by_the_address_alone(storage: Storage) -> None:
    write(storage, "a/b")
    environment = dict(storage.environment)
    other = open_storage(storage.place, take_keys(environment))
    assert read(other, "a/b") == b"content"
    assert environment == {}  # and nobody who is started from there gets the keys


def test_many_threads_write_at_once(storage: Storage) -> None:
    def work(number: int) -> None:
        for turn in range(5):
            write(storage, f"a/{number}-{turn}", b"%d" % number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert names(storage, "a") == {f"a/{number}-{turn}" for number in range(8) for turn in range(5)}


def test_trying_it_out_leaves_nothing_behind(storage: Storage) -> None:
    storage.check()
    assert storage.files("") == []


def test_it_shows_no_secret(storage: Storage) -> None:
    shown = f"{storage!r} {storage} {storage.place} {Keys(ACCESS_KEY, SECRET_KEY)}"
    assert SECRET_KEY not in shown
    assert ACCESS_KEY not in shown


def test_a_place_of_its_own_for_each_prefix(storage: Storage) -> None:
    mark = uuid4().hex
    write(storage, f"a/{mark}")
    inside = storage.place.partition("?")
    other = open_storage("".join((f"{inside[0]}/deeper", *inside[1:])), take_keys(dict(storage.environment)))
    write(other, "a/b")
    assert names(storage, "a") == {f"a/{mark}"}
    assert names(storage, "deeper") == {"deeper/a/b"}
