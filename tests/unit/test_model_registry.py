"""A version is in the registry completely or not at all, and is what was evaluated or is refused."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from retrain import registry as module
from retrain.model_files import MODEL_FILE, save_model
from retrain.registry import (
    CARD_FILE,
    MANIFEST_FILE,
    Manifest,
    Registry,
    RegistryError,
    TamperedError,
    VersionExistsError,
    VersionMissingError,
    load,
    safe_name,
    verify,
)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "models")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "candidate"
    (folder / "parts").mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"weights")
    (folder / "parts" / "vocabulary.txt").write_text("north south")
    return folder


def publish(registry: Registry, files: Path, version: str = "2", job: str = "7", model: str = "loans") -> Manifest:
    details: dict[str, Any] = {"task": "binary"}
    return registry.publish(files, model=model, version=version, job=job, created=5.0, details=details, card="# card")


def test_what_was_published_is_found_and_whole(registry: Registry, files: Path) -> None:
    manifest = publish(registry, files)
    path = registry.path("loans", "2")
    assert verify(path, manifest.model_hash) == registry.manifest("loans", "2") == manifest
    assert set(manifest.files) == {"model.bin", "parts/vocabulary.txt"}
    assert manifest.files["model.bin"].bytes == 7
    assert (path / CARD_FILE).read_text() == "# card"
    assert registry.versions("loans") == ["2"]
    assert path.stat().st_mode & 0o055 == 0o055  # a service of another user can read it


def test_same_files_have_the_same_hash_and_others_another(registry: Registry, files: Path) -> None:
    first, second = publish(registry, files, "1"), publish(registry, files, "2")
    assert first.model_hash == second.model_hash
    (files / "model.bin").rename(files / "renamed.bin")
    assert publish(registry, files, "3").model_hash != first.model_hash


def change(path: Path) -> None:
    (path / "model.bin").write_bytes(b"Weights")


def add(path: Path) -> None:
    (path / "sitecustomize.py").write_text("surprise")


def remove(path: Path) -> None:
    (path / "parts" / "vocabulary.txt").unlink()


def swap(path: Path) -> None:
    (path / "model.bin").unlink()
    (path / "model.bin").symlink_to("/etc/hostname")


def forge(path: Path) -> None:
    """Change a file, and the manifest to match it."""
    change(path)
    manifest = module.read_manifest(path)
    entries = module.hash_files(path)
    forged = Manifest(**{field: getattr(manifest, field) for field in manifest.__struct_fields__} | {"files": entries})
    (path / MANIFEST_FILE).write_bytes(module.msgspec.json.encode(forged))


def damage(path: Path) -> None:
    (path / MANIFEST_FILE).write_text("{}")


@pytest.mark.parametrize("tamper", [change, add, remove, swap, forge, damage])
def test_any_change_is_found(registry: Registry, files: Path, tamper: Any) -> None:
    manifest = publish(registry, files)
    path = registry.path("loans", "2")
    tamper(path)
    with pytest.raises(TamperedError):
        verify(path, manifest.model_hash)


def test_another_whole_version_is_not_the_evaluated_one(registry: Registry, files: Path) -> None:
    manifest = publish(registry, files)
    (files / "model.bin").write_bytes(b"other")
    publish(registry, files, "3")
    with pytest.raises(TamperedError):
        verify(registry.path("loans", "3"), manifest.model_hash)


def test_a_version_never_changes(registry: Registry, files: Path) -> None:
    before = publish(registry, files, job="7")
    (files / "model.bin").write_bytes(b"other")
    with pytest.raises(VersionExistsError, match="job 7"):
        publish(registry, files, job="8")
    assert verify(registry.path("loans", "2")) == before


def test_the_same_job_done_again_replaces_what_it_left(registry: Registry, files: Path) -> None:
    publish(registry, files, job="7")
    (files / "model.bin").write_bytes(b"trained again")
    again = publish(registry, files, job="7")
    assert verify(registry.path("loans", "2")) == again


def test_a_publication_cut_short_leaves_no_version(
    registry: Registry, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """As if the process ended here."""

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(module, "_sync_all", killed)
        patched.setattr(module.shutil, "rmtree", killed)  # nobody tidies up after a kill
        with pytest.raises(Killed):
            publish(registry, files)
    assert registry.versions("loans") == []
    assert not registry.path("loans", "2").exists()
    left = list(registry.path("loans", "2").parent.iterdir())
    assert len(left) == 1
    publish(registry, files)
    assert [one.name for one in registry.path("loans", "2").parent.iterdir()] == ["2"]


def test_versions_are_in_order(registry: Registry, files: Path) -> None:
    for version in ("10", "9", "2026-11", "../etc", "2"):
        publish(registry, files, version)
    assert registry.versions("loans") == ["2", "9", "10", "../etc", "2026-11"]
    assert registry.versions("unheard of") == []
    registry.remove("loans", "9")
    registry.remove("loans", "9")
    assert "9" not in registry.versions("loans")


@given(st.text(max_size=300), st.text(max_size=300))
def test_every_name_is_one_folder_of_its_own(one: str, other: str) -> None:
    try:
        one.encode()
        other.encode()
    except UnicodeEncodeError:
        return
    written = safe_name(one)
    assert written
    assert written not in {".", ".."}
    assert written[0] != "."
    assert os.sep not in written
    assert "\0" not in written
    assert len(written.encode()) < 200
    assert (written == safe_name(other)) == (one == other)


def test_ordinary_names_stay_readable() -> None:
    assert safe_name("loans-v2_b.1") == "loans-v2_b.1"
    assert safe_name("credit/de") == "credit%2Fde"


def test_what_is_not_there_is_said_so(registry: Registry) -> None:
    with pytest.raises(VersionMissingError):
        registry.manifest("loans", "9")
    with pytest.raises(VersionMissingError):
        verify(registry.path("loans", "9"))


@pytest.mark.parametrize("content", ["link", "manifest"])
def test_files_that_would_not_be_hashed_are_refused(registry: Registry, files: Path, content: str) -> None:
    if content == "link":
        (files / "weights").symlink_to("/etc/hostname")
    else:
        (files / MANIFEST_FILE).write_text("{}")
    with pytest.raises(RegistryError):
        publish(registry, files)
    assert registry.versions("loans") == []


def test_a_model_is_loaded_only_if_it_is_whole(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_model(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), folder / MODEL_FILE)
    manifest = publish(registry, folder)
    path = registry.path("loans", "2")
    assert load(path, manifest.model_hash).predict([[5.0]]).tolist() == [1]
    with (path / MODEL_FILE).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(TamperedError):
        load(path, manifest.model_hash)


def test_a_model_of_the_users_own_is_not_opened(registry: Registry, files: Path) -> None:
    publish(registry, files)
    with pytest.raises(RegistryError, match=r"model\.bin"):
        load(registry.path("loans", "2"))
