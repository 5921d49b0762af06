"""What batches are decoded by."""

from typing import Protocol

from daemon.events.columns import FeatureDecoder


class Decoding(Protocol):
    """What is known of a model that tells how its events are to be decoded."""

    @property
    def model(self) -> str:
        """Its name."""
        ...

    @property
    def decoder(self) -> FeatureDecoder:
        """How the features of the next rows are to be decoded."""
        ...

    def until_learned(self) -> tuple[int, int] | None:
        """How many rows with features, and predictions, make ``decoder`` another one; None for never."""
        ...
