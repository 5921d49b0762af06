"""The settings in the words of the parts that go by them."""

from collections.abc import Callable
from importlib import metadata
from socket import gethostname
from typing import TYPE_CHECKING

from daemon.alibi.environment import environment, is_wanted
from daemon.archive import Archive
from daemon.events.event_rules import EventLimits
from daemon.fleet.workers import Role, Worker, new_name
from daemon.lifecycle.housekeeping import Housekeeping, Keep
from daemon.lifecycle.job_folder import Places
from daemon.lifecycle.recipe import Recipe
from daemon.lifecycle.schedule import Entry, retrains
from daemon.lifecycle.triggers import Triggers
from daemon.notifiers.base import Notifier
from daemon.notifiers.registry import choose
from daemon.settings import Settings
from daemon.stores.engine import Store
from daemon.transports.base import BacklogLimits, FetchLimits, Retention, TransportOptions
from daemon.transports.kafka_options import KafkaOptions
from daemon.web.context import Access, Limits
from retrain.storage import open_storage
from retrain.storage.address import Keys
from retrain.storage.base import Storage

if TYPE_CHECKING:
    from daemon.alibi.bridge import Bridge

KIBIBYTE, MEBIBYTE = 1 << 10, 1 << 20
DAY_SECONDS = 86_400.0
HOUSEKEEPING_TIMES = "17 3 * * *"
"""Once a day, at an hour and a minute that little else is done at."""


def transport_options(settings: Settings) -> TransportOptions:
    """Where events are kept, how many may wait, and for how long they stay."""
    limits, kept, kafka = settings.limits, settings.event_log, settings.kafka
    return TransportOptions(
        settings.data_dir.absolute(),
        BacklogLimits(events=limits.backlog_events, size=limits.backlog_mb * MEBIBYTE),
        Retention(kept.retention_mb * MEBIBYTE, kept.retention_days * DAY_SECONDS),
        settings.topics,
        KafkaOptions(
            username=kafka.username,
            password=_plain(kafka.password),
            mechanism=kafka.mechanism.value,
            ca=kafka.ca,
            group=kafka.group,
            create_topics=kafka.create_topics,
            partitions=kafka.partitions,
            replication=kafka.replication,
        ),
    )


def worker(settings: Settings, now: float) -> Worker:
    """This process as one of a fleet."""
    return Worker(
        worker=new_name(),
        host=gethostname(),
        roles=settings.role,
        release=metadata.version("driftd"),
        url=settings.page_url if Role.WEB in settings.role else None,
        started=now,
        seen=now,
    )


def fetch_limits(settings: Settings) -> FetchLimits:
    """How large a batch gets."""
    return FetchLimits(records=settings.pipeline.batch_events)


def event_limits(settings: Settings) -> EventLimits:
    """What an event may be."""
    limits = settings.limits
    return EventLimits(limits.event_kb * KIBIBYTE, limits.features, limits.text_chars)


def body_limits(settings: Settings) -> Limits:
    """What a request may be."""
    return Limits(settings.limits.body_mb * MEBIBYTE, settings.limits.decompressed_mb * MEBIBYTE)


def access(settings: Settings, local_token: str) -> Access:
    """Who may do what over HTTP."""
    return Access(
        settings.http_host,
        settings.public_url,
        _plain(settings.api_token),
        _plain(settings.ingest_token),
        local_token,
    )


def alibi(settings: Settings, *, patient: bool = False) -> "Bridge | None":
    """The way to alibi-detect, where a model is to be watched by it; ``patient`` waits for what takes long."""
    if not is_wanted(settings):
        return None
    from daemon.alibi.bridge import Bridge

    own = settings.alibi
    return Bridge(
        environment(settings),
        answer_seconds=own.answer_seconds,
        calibration_seconds=own.calibration_seconds,
        patient=patient,
    )


def notifier(settings: Settings) -> Notifier:
    """Where alerts go."""
    return choose(
        webhook_url=_plain(settings.slack_webhook_url),
        bot_token=_plain(settings.slack_bot_token),
        channel=settings.slack_channel,
        api_url=settings.slack_api_url,
    )


def recipe_of(settings: Settings) -> Callable[[str], Recipe]:
    """How each model is trained, judged and deployed."""
    return lambda model: Recipe.of(settings.model(model), settings.data_dir.absolute())


def storage(settings: Settings) -> Storage:
    """Where archive, datasets and versions are kept."""
    keys = None
    if settings.archive_access_key is not None and settings.archive_secret_key is not None:
        keys = Keys(settings.archive_access_key.get_secret_value(), settings.archive_secret_key.get_secret_value())
    return open_storage(settings.archive_url or str(settings.data_dir.absolute()), keys)


def places(settings: Settings) -> Places:
    """Where everything is kept, on this machine and for all."""
    return Places.below(settings.data_dir, storage(settings))


def entries(settings: Settings, store: Store, archive: Archive, triggers: Triggers) -> list[Entry]:
    """What is done at certain times: cron retrains, and housekeeping."""

    def keep(model: str) -> Keep:
        own = settings.model(model)
        return Keep(own.signal_days, own.archive.days, own.retrain.keep_versions)

    every = [settings, *settings.models.values()]
    crons = [one.retrain.cron for one in every if one.retrain.cron is not None]
    house = Housekeeping(store, places(settings), keep, archive.expire, archive.sweep)
    return [
        *retrains(crons, lambda model: settings.model(model).retrain.cron, triggers),
        Entry(name="housekeeping", times=HOUSEKEEPING_TIMES, after=house),
    ]


def _plain(secret: object) -> str | None:
    reveal = getattr(secret, "get_secret_value", None)
    return None if reveal is None else str(reveal())
