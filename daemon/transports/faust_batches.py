"""What our side of every Faust transport does alike: find the feed of its app, and hand over a batch as one message."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from faust.exceptions import ImproperlyConfigured
from faust.types import TP, ConsumerMessage

from daemon.transports.base import Batch, Feed

if TYPE_CHECKING:
    from faust.types import AppT


def feed_of(app: AppT) -> Feed:
    """The feed of an app of daemon.stream. Raises ImproperlyConfigured for any other."""
    feed = getattr(app, "feed", None)
    if not isinstance(feed, Feed):
        raise ImproperlyConfigured("this transport serves the apps that daemon.stream.build makes, and no others")
    return feed


def message_of(app: AppT, batch: Batch) -> ConsumerMessage:
    """A batch as a Faust message. Its offset is the last that the batch covers, be there a record of it or not."""
    tp = TP(*batch.target)
    return ConsumerMessage(
        tp.topic,
        tp.partition,
        batch.next_offset - 1,
        batch.records[-1].timestamp if batch.records else 0.0,
        timestamp_type=0,
        headers=None,
        key=None,
        value=cast("bytes", batch),
        checksum=None,
        tp=tp,
        generation_id=app.consumer_generation_id,
    )
