"""What a model is to be watched by from now on: of a version that has gone into service, or given by a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import msgspec

from daemon.monitoring.monitor import Monitor
from daemon.monitoring.references import give
from daemon.monitoring.tasks import Task
from detectors.columns import Stream
from detectors.reference import Reference


@dataclass(frozen=True, slots=True)
class Change:
    """References that replace those of their streams; None is to be learned from the rows to come.

    ``takes_over``: another version is in service from here on, ``version``, None for one without a name.
    """

    references: Mapping[Stream, Reference | None]
    task: Task | None = None
    version: str | None = None
    takes_over: bool = False

    def __call__(self, monitor: Monitor) -> None:
        """Make the change."""
        if self.takes_over:
            monitor.adopt(self.version, dict(self.references))
        else:
            give(monitor, self.task, {stream: one for stream, one in self.references.items() if one is not None})

    def to_bytes(self) -> bytes:
        """For the store."""
        references = {stream.value: None if one is None else one.to_dict() for stream, one in self.references.items()}
        return msgspec.msgpack.encode([references, self.task, self.version, self.takes_over])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The reverse of ``to_bytes``."""
        references, task, version, takes_over = msgspec.msgpack.decode(data)
        return cls(
            {Stream(stream): None if one is None else Reference.from_dict(one) for stream, one in references.items()},
            None if task is None else Task(task),
            version,
            takes_over,
        )


class Changes(Protocol):
    """Has changes made, by whoever has the model's monitor."""

    async def change(self, model: str, change: Change, /) -> None:
        """Return when it is made and stored."""
        ...
