"""What readers know of the models: by which types the features of their events are decoded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon import checkpoint
from daemon.events.columns import FeatureDecoder
from daemon.events.event import EventLimits
from daemon.events.rows import Rows
from daemon.fleet import parcels
from daemon.stores.tables import models, states

RELEARN_SECONDS: Final = 10.0
"""Between two looks at models whose types are known: these change seldom, and nothing depends on hearing of it soon."""


@dataclass(slots=True)
class Learned:
    """A model as a reader knows it: by the types that its owner has learned, once it has."""

    model: str
    decoder: FeatureDecoder

    def until_learned(self) -> None:
        """What follows never depends on what came before: values travel as they came until there are types."""


class LearnedModels:
    """All models that a reader knows."""

    def __init__(self, limits: EventLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._looked_at = 0.0
        self.by_name: dict[str, Learned] = {}

    def make(self, model: str) -> Learned:
        """What is known of a model that was never heard of."""
        return Learned(model, FeatureDecoder(None, self._limits))

    def know(self, learned: Learned) -> None:
        """Keep what ``make`` has made."""
        self.by_name.setdefault(learned.model, learned)

    def guess(self, model: str, rows: Rows) -> None:
        """Until its owner has learned the types, those of the first values are a guess that makes decoding fast."""
        learned = self.by_name[model]
        if not learned.decoder.schema:
            learned.decoder = FeatureDecoder(parcels.kinds_of(rows), self._limits, guessed=True)

    async def look(self, connection: AsyncConnection) -> None:
        """Hear which models there are, and what their owners have learned."""
        known = set((await connection.execute(select(models.c.model))).scalars())
        learned = select(states.c.model, states.c.data).where(states.c.part == checkpoint.SCHEMA)
        if self._clock() - self._looked_at < RELEARN_SECONDS:
            guessed = [one.model for one in self.by_name.values() if one.decoder.guessed]
            learned = learned.where(states.c.model.in_([*guessed, *(known - self.by_name.keys())]))
        else:
            self._looked_at = self._clock()
        schemas = {row.model: checkpoint.schema_of(row.data) for row in await connection.execute(learned)}
        for model in known | schemas.keys():
            schema, before = schemas.get(model), self.by_name.get(model)
            if before is None or (schema and (before.decoder.guessed or before.decoder.schema != schema)):
                self.by_name[model] = Learned(model, FeatureDecoder(schema, self._limits))
