"""A version that one node has published is, on another, the same one or none."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from retrain.publication import fetch_kept, keep, local_copy, publish_version, published, withdraw
from retrain.registry import (
    CARD_FILE,
    MANIFEST_FILE,
    Manifest,
    Registry,
    TamperedError,
    VersionExistsError,
    VersionMissingError,
    verify,
)
from retrain.storage import FolderStorage
from retrain.storage.base import Storage, StorageError

THERE = "models/credit%2Fde/2"


class Node:
    """A machine with a data folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = Registry(folder / "models")

    def make(self, storage: Storage, content: str = "weights", job: str = "7") -> Manifest:
        """Train a version and publish it."""
        files = self.folder / "candidate"
        (files / "parts").mkdir(parents=True, exist_ok=True)
        (files / "model.bin").write_text(content)
        (files / "parts" / "words.txt").write_text("north south")
        details: dict[str, Any] = {"task": "binary"}
        manifest = self.registry.publish(
            files, model="credit/de", version="2", job=job, created=5.0, details=details, card="# card"
        )
        publish_version(storage, self.registry, "credit/de", "2")
        return manifest

    def copy(self, storage: Storage, manifest: Manifest) -> Path:
        return local_copy(storage, self.registry, "credit/de", "2", manifest.model_hash)


@pytest.fixture
def here(tmp_path: Path) -> Node:
    return Node(tmp_path / "here")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Node:
    return Node(tmp_path / "elsewhere")


def test_another_node_gets_the_version_whole(storage: Storage, here: Node, elsewhere: Node) -> None:
    manifest = here.make(storage)
    path = elsewhere.copy(storage, manifest)
    assert path == elsewhere.folder / "models" / "credit%2Fde" / "2"
    assert verify(path, manifest.model_hash) == manifest
    assert (path / CARD_FILE).read_text() == "# card"
    assert elsewhere.registry.versions("credit/de") == ["2"]
    assert path.stat().st_mode & 0o055 == 0o055  # a service of another user can read it


def test_what_is_here_and_whole_is_not_fetched_again(storage: Storage, here: Node) -> None:
    manifest = here.make(storage)
    for one in storage.files("models"):
        storage.remove(one.name)
    assert verify(here.copy(storage, manifest)) == manifest


@pytest.mark.parametrize("name", ["model.bin", "parts/words.txt"])
@pytest.mark.parametrize("change", ["changed", "gone"])
def test_a_file_that_was_changed_there_never_gets_here(
    storage: Storage, here: Node, elsewhere: Node, name: str, change: str
) -> None:
    manifest = here.make(storage)
    storage.remove(f"{THERE}/{name}")
    if change == "changed":
        with storage.create(f"{THERE}/{name}") as sink:
            sink.write(b"surprise")
    with pytest.raises(TamperedError, match=name):
        elsewhere.copy(storage, manifest)
    assert elsewhere.registry.versions("credit/de") == []
    assert not elsewhere.registry.path("credit/de", "2").exists()


def test_another_model_with_a_manifest_to_match_is_not_the_evaluated_one(
    storage: Storage, here: Node, elsewhere: Node
) -> None:
    manifest = here.make(storage)
    here.make(storage, "other weights")
    with pytest.raises(TamperedError, match="not the model that was evaluated"):
        elsewhere.copy(storage, manifest)


def test_a_manifest_cannot_name_files_outside_of_the_version(storage: Storage, here: Node, elsewhere: Node) -> None:
    manifest = here.make(storage)
    for name in ("../../../outside", "/outside", "parts/../../outside"):
        forged = msgspec.structs.replace(manifest, files={name: manifest.files["model.bin"]})
        with storage.create(f"{THERE}/{MANIFEST_FILE}") as sink:
            sink.write(msgspec.json.encode(forged))
        with pytest.raises(TamperedError, match="no file of the version"):
            elsewhere.copy(storage, manifest)


def test_a_storage_that_is_the_data_folder_holds_the_version_once(here: Node) -> None:
    storage = FolderStorage(here.folder)
    manifest = here.make(storage)
    publish_version(storage, here.registry, "credit/de", "2")
    assert verify(here.copy(storage, manifest)) == manifest


def test_a_version_without_a_manifest_is_none(storage: Storage, here: Node, elsewhere: Node) -> None:
    manifest = here.make(storage)
    storage.remove(f"{THERE}/{MANIFEST_FILE}")
    with pytest.raises(VersionMissingError, match="no version 2 of credit/de"):
        elsewhere.copy(storage, manifest)


def test_the_manifest_is_written_last_and_removed_first(
    storage: Storage, here: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.make(storage)
    put, turns = storage.put, iter((True, True, False))

    def cut(file: Path, name: str) -> None:
        if not next(turns):
            raise StorageError("it went away")
        put(file, name)

    with monkeypatch.context() as patched:
        patched.setattr(storage, "put", cut)
        with pytest.raises(StorageError):
            publish_version(storage, here.registry, "credit/de", "2")
    assert f"{THERE}/{MANIFEST_FILE}" not in {one.name for one in storage.files("models")}
    publish_version(storage, here.registry, "credit/de", "2")
    assert {one.name for one in storage.files("models")} == {
        f"{THERE}/{name}" for name in ("model.bin", "parts/words.txt", CARD_FILE, MANIFEST_FILE)
    }


def test_what_an_attempt_left_here_gives_way_to_what_was_promoted(
    storage: Storage, here: Node, elsewhere: Node
) -> None:
    elsewhere.make(storage, "of the node that lost the lease")
    manifest = here.make(storage)
    assert (elsewhere.copy(storage, manifest) / "model.bin").read_text() == "weights"


def test_a_version_of_another_job_is_not_replaced(storage: Storage, here: Node, elsewhere: Node) -> None:
    manifest = here.make(storage, job="7")
    with pytest.raises(VersionExistsError, match="job 7"):
        elsewhere.make(storage, "other", job="8")
    assert verify(Node(here.folder.with_name("third")).copy(storage, manifest)) == manifest


def test_a_version_that_is_withdrawn_is_gone(storage: Storage, here: Node, elsewhere: Node) -> None:
    manifest = here.make(storage)
    assert published(storage, "credit/de") == {"2"}
    withdraw(storage, "credit/de", "2")
    withdraw(storage, "credit/de", "2")
    assert published(storage, "credit/de") == set()
    with pytest.raises(VersionMissingError):
        elsewhere.copy(storage, manifest)


def test_what_is_kept_of_a_retrain_is_found_elsewhere(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "reference.parquet").write_bytes(b"rows")
    keep(storage, 7, [tmp_path / "reference.parquet"])
    assert [one.name for one in storage.files("jobs")] == ["jobs/7/reference.parquet"]
    found = fetch_kept(storage, 7, "reference.parquet", tmp_path / "other" / "7")
    assert found.read_bytes() == b"rows"
    with pytest.raises(FileNotFoundError):
        fetch_kept(storage, 8, "reference.parquet", tmp_path / "other" / "8")
