"""Versions, and what else is kept of a retrain, between this machine and the storage that all nodes see.

In the storage they lie under the same names as in a data folder: ``models/MODEL/VERSION/FILE``, ``jobs/JOB/FILE``. A
version is there once its manifest is, which is written last. Whoever opens a file of a version opens a local copy,
which has been compared with the manifest, file by file.
"""

from collections.abc import Iterable
from pathlib import Path

from retrain.registry import (
    CARD_FILE,
    MANIFEST_FILE,
    Manifest,
    Registry,
    TamperedError,
    VersionExistsError,
    VersionMissingError,
    decode_manifest,
    hash_of,
    read_manifest,
    safe_name,
    verify,
)
from retrain.storage.base import JOBS, MODELS, Storage


def publish_version(storage: Storage, registry: Registry, model: str, version: str) -> None:
    """Copy a version from the registry into the storage. Raises RegistryError, StorageError, OSError.

    As in the registry, a version of the same job is replaced, and one of another job is not.
    """
    if storage.folder is not None and (storage.folder / MODELS).resolve() == registry.root.resolve():
        return  # it lies there already
    folder, there = registry.path(model, version), _folder_of(model, version)
    manifest = read_manifest(folder)
    try:
        left = _manifest(storage, model, version)
    except VersionMissingError:
        left = None
    if left is not None and left.job != manifest.job:
        raise VersionExistsError(f"version {version} of {model} was made by job {left.job}")
    withdraw(storage, model, version)
    for name in (*manifest.files, CARD_FILE, MANIFEST_FILE):
        storage.put(folder / name, f"{there}/{name}")


def published(storage: Storage, model: str) -> set[str]:
    """Return the folders of the versions of which the storage has files. Raises StorageError, OSError."""
    below = f"{MODELS}/{safe_name(model)}"
    return {one.name.removeprefix(f"{below}/").partition("/")[0] for one in storage.files(below)}


def withdraw(storage: Storage, model: str, version: str) -> None:
    """Remove a version from the storage, if it is there. Raises StorageError, OSError."""
    there = _folder_of(model, version)
    storage.remove(f"{there}/{MANIFEST_FILE}")  # first, so that half a version is none
    for left in storage.files(there):
        storage.remove(left.name)


def local_copy(storage: Storage, registry: Registry, model: str, version: str, model_hash: str) -> Path:
    """Return the folder of a version on this machine, whose files are those of ``model_hash``; fetch it where needed.

    Raises RegistryError where the storage has no such version or other files, StorageError, OSError.
    """
    folder = registry.path(model, version)
    try:
        verify(folder, model_hash)
    except (VersionMissingError, TamperedError):  # such as what an attempt left whose job another node then finished
        return registry.admit(model, version, lambda staged: _fetch(storage, model, version, model_hash, staged))
    return folder


def keep(storage: Storage, job: str | int, files: Iterable[Path]) -> None:
    """Copy files of a retrain into the storage. Raises StorageError, OSError."""
    for file in files:
        storage.put(file, f"{JOBS}/{job}/{file.name}")


def fetch_kept(storage: Storage, job: str | int, name: str, folder: Path) -> Path:
    """Return a file of a retrain in ``folder``, its folder on this machine; fetch it where needed.

    Raises FileNotFoundError where the storage has none, StorageError, OSError.
    """
    file = folder / name
    if not file.exists():
        storage.fetch(f"{JOBS}/{job}/{name}", file)
    return file


def _fetch(storage: Storage, model: str, version: str, model_hash: str, staged: Path) -> None:
    manifest = _manifest(storage, model, version)
    if hash_of(manifest.files) != model_hash:  # before anything of it is fetched
        raise TamperedError(f"version {version} of {model} in {storage.place} is not the model that was evaluated")
    for name in (*manifest.files, CARD_FILE, MANIFEST_FILE):
        try:
            storage.fetch(f"{_folder_of(model, version)}/{name}", staged / name)
        except FileNotFoundError as error:
            raise TamperedError(f"{name} of version {version} of {model} is gone from {storage.place}") from error
    verify(staged, model_hash)


def _manifest(storage: Storage, model: str, version: str) -> Manifest:
    try:
        with storage.open(f"{_folder_of(model, version)}/{MANIFEST_FILE}") as source:
            content = source.read()
    except FileNotFoundError as error:
        raise VersionMissingError(f"no version {version} of {model} in {storage.place}") from error
    return decode_manifest(content, storage.place)


def _folder_of(model: str, version: str) -> str:
    return f"{MODELS}/{safe_name(model)}/{safe_name(version)}"
