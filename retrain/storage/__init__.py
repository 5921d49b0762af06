"""Where archive, datasets and versions are kept: one module for each kind of storage."""

from typing import Final

from retrain.storage.address import Keys, S3Address, read_address
from retrain.storage.base import Storage
from retrain.storage.folder import FolderStorage
from retrain.storage.s3 import S3Storage

STORAGES: Final[tuple[type[FolderStorage] | type[S3Storage], ...]] = (FolderStorage, S3Storage)
"""Every kind, for the tests that hold for all of them."""


def open_storage(address: str, keys: Keys | None = None) -> Storage:
    """The storage at ``address``; nothing is asked of it yet. Raises ValueError for what is no address."""
    found = read_address(address)
    if isinstance(found, S3Address):
        return S3Storage(found, keys)
    return FolderStorage(found.path.absolute())
