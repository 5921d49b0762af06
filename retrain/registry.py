"""Every version of every model: a folder with its files and a manifest that tells whether they are still the same."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import quote

import msgspec

from retrain.syncing import sync

MANIFEST_FILE: Final = "manifest.json"
CARD_FILE: Final = "MODEL_CARD.md"
LONGEST_NAME: Final = 150
"""In characters as written; file systems end at 255 bytes."""
UNFINISHED: Final = ".unfinished-"


class RegistryError(Exception):
    """A version that cannot be published or trusted; the text says which and why."""


class VersionExistsError(RegistryError):
    """The version is there already, made by another job. Versions never change."""


class VersionMissingError(RegistryError):
    """There is no such version."""


class TamperedError(RegistryError):
    """The files are not those that were evaluated. Do not serve them: train again, or roll back."""


class FileEntry(msgspec.Struct, frozen=True):
    """One file of a version."""

    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a version consists of and where it comes from. ``model_hash`` is over names and hashes of all files."""

    model: str
    version: str
    model_hash: str
    files: dict[str, FileEntry]
    job: str
    created: float
    """Epoch seconds; the cut-off of the labels."""
    details: dict[str, Any] = {}
    """Task, features, algorithm, dataset, gate and library versions."""


class Registry:
    """Versions below ``root``, as ``MODEL/VERSION/``. A version is there completely or not at all."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, model: str, version: str) -> Path:
        """Where the files of a version are, or would be."""
        return self.root / safe_name(model) / safe_name(version)

    def versions(self, model: str) -> list[str]:
        """All versions of a model, whole numbers by size first."""
        folder = self.root / safe_name(model)
        if not folder.is_dir():
            return []
        names = [one.name for one in folder.iterdir() if (one / MANIFEST_FILE).is_file() and one.name[0] != "."]
        versions = [read_manifest(folder / name).version for name in names]
        return sorted(versions, key=lambda name: (0, int(name), "") if name.isdecimal() else (1, 0, name))

    def manifest(self, model: str, version: str) -> Manifest:
        """The manifest of a version. Raises VersionMissingError."""
        return read_manifest(self.path(model, version))

    def publish(
        self, files: Path, *, model: str, version: str, job: str, created: float, details: dict[str, Any], card: str
    ) -> Manifest:
        """Copy ``files`` into the registry, durably and at once. Raises RegistryError.

        A version of the same job is replaced: it is what an attempt left that was killed before it could tell anybody.
        """
        if (files / MANIFEST_FILE).exists():
            raise RegistryError(f"the model's own files may not hold a {MANIFEST_FILE}: that name is the registry's")
        target = self.path(model, version)
        with self._staged(target) as staged:
            shutil.copytree(files, staged, dirs_exist_ok=True, symlinks=True)
            entries = hash_files(staged)
            manifest = Manifest(
                model=model,
                version=version,
                model_hash=hash_of(entries),
                files=entries,
                job=job,
                created=created,
                details=details,
            )
            (staged / CARD_FILE).write_text(card, encoding="utf-8")
            (staged / MANIFEST_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
            self._make_room(target, job)
        return manifest

    def admit(self, model: str, version: str, fill: Callable[[Path], None]) -> Path:
        """Take a version as ``fill`` writes it, manifest included, in place of what is here, and return its folder.

        What ``fill`` raises keeps it out.
        """
        target = self.path(model, version)
        with self._staged(target) as staged:
            fill(staged)
            self.remove(model, version)
        return target

    def remove(self, model: str, version: str) -> None:
        """Remove a version, if it is there."""
        target = self.path(model, version)
        if target.is_dir():
            gone = target.with_name(f"{UNFINISHED}{target.name}")
            target.rename(gone)
            shutil.rmtree(gone)

    @contextmanager
    def _staged(self, target: Path) -> Iterator[Path]:
        """Give an empty folder, which becomes ``target`` at the end of the block, durably and at once."""
        target.parent.mkdir(parents=True, exist_ok=True)
        self._remove_unfinished(target.parent)
        staged = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=target.parent))
        try:
            yield staged
            staged.chmod(0o755)
            _sync_all(staged)
            staged.rename(target)
            sync(target.parent)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise

    def _make_room(self, target: Path, job: str) -> None:
        if not target.exists():
            return
        manifest = read_manifest(target)
        if manifest.job != job:
            raise VersionExistsError(f"version {manifest.version} of {manifest.model} was made by job {manifest.job}")
        self.remove(manifest.model, manifest.version)

    @staticmethod
    def _remove_unfinished(folder: Path) -> None:
        for left in folder.glob(f"{UNFINISHED}*"):
            shutil.rmtree(left, ignore_errors=True)


def safe_name(name: str) -> str:
    """``name`` as the name of one folder: never hidden, never a path, never too long, and different for each name."""
    written = quote(name, safe="")
    if written.startswith("."):
        written = "%2E" + written[1:]
    if not written or len(written) > LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()
        written = f"{written[:64]}~{digest[:32]}"
    return written


def read_manifest(path: Path) -> Manifest:
    """The manifest in the folder of a version. Raises VersionMissingError, TamperedError."""
    try:
        content = (path / MANIFEST_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise VersionMissingError(f"no version in {path}") from error
    return decode_manifest(content, path)


def decode_manifest(content: bytes, where: object) -> Manifest:
    """The manifest that these bytes, found in ``where``, are. Raises TamperedError."""
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise TamperedError(f"the {MANIFEST_FILE} in {where} is damaged: {error}") from error
    outside = [name for name in manifest.files if PurePosixPath(name).is_absolute() or ".." in name.split("/")]
    if outside:
        raise TamperedError(f"the {MANIFEST_FILE} in {where} names {outside[0]}, which is no file of the version")
    return manifest


def verify(path: Path, model_hash: str | None = None) -> Manifest:
    """The manifest of the version in ``path``, after comparing every file with it and it with ``model_hash``.

    Raises VersionMissingError, TamperedError.
    """
    manifest = read_manifest(path)
    found = hash_files(path)
    for name in sorted(set(found) | set(manifest.files)):
        if name not in found:
            raise TamperedError(f"{path / name} is gone")
        if found[name] != manifest.files.get(name):
            raise TamperedError(f"{path / name} is not what was evaluated")
    if hash_of(found) != manifest.model_hash or model_hash not in {None, manifest.model_hash}:
        raise TamperedError(f"{path} is version {manifest.version}, but not the model that was evaluated")
    return manifest


def load(path: Path, model_hash: str | None = None) -> Any:
    """The scikit-learn model in ``path``, verified first, loaded with a list of trusted types. Raises RegistryError."""
    from retrain.model_files import MODEL_FILE, load_model

    manifest = verify(path, model_hash)
    if MODEL_FILE not in manifest.files:
        raise RegistryError(f"{path} holds {', '.join(manifest.files)}: load it with the code that made it")
    return load_model(path / MODEL_FILE)


def hash_files(folder: Path) -> dict[str, FileEntry]:
    """Every file in ``folder`` but manifest and card. Raises RegistryError for what is no plain file."""
    entries = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_symlink() or not (file.is_file() or file.is_dir()):
            raise TamperedError(f"{file} is no plain file; a version must hold its own copy")
        if file.is_file() and name not in {MANIFEST_FILE, CARD_FILE}:
            with file.open("rb") as source:
                digest = hashlib.file_digest(source, "sha256").hexdigest()
            entries[name] = FileEntry(digest, file.stat().st_size)
    return entries


def hash_of(entries: dict[str, FileEntry]) -> str:
    """One hash for all files."""
    lines = [f"{entry.sha256}  {name}\n" for name, entry in sorted(entries.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _sync_all(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        sync(path)
