"""Settings that are right one by one and wrong together."""

import re
from collections.abc import Iterator
from ipaddress import ip_address

from daemon.fleet.workers import ALL_ROLES, Role
from daemon.settings.errors import Problem
from daemon.settings.names import DELIMITER, MODELS, PREFIX
from daemon.settings.report import shown
from daemon.settings.service import KafkaMechanism, Settings
from daemon.settings.tunables import ModelSettings


def conflicts(settings: Settings) -> Iterator[Problem]:
    """What is wrong between the settings, for the daemon and for each model."""
    if not is_loopback(settings.http_host) and settings.api_token is None:
        hint = "set DRIFTD_API_TOKEN (or DRIFTD_API_TOKEN_FILE) to listen on any other"
        yield Problem("DRIFTD_HTTP_HOST", settings.http_host, "a loopback address such as 127.0.0.1", hint)
    yield from _slack(settings)
    yield from _archive(settings)
    yield from _database(settings)
    yield from _kafka(settings)
    yield from _role(settings)
    if settings.limits.decompressed_mb < settings.limits.body_mb:
        at_least = f"at least DRIFTD_LIMITS__BODY_MB ({settings.limits.body_mb})"
        yield Problem("DRIFTD_LIMITS__DECOMPRESSED_MB", str(settings.limits.decompressed_mb), at_least)
    yield from _model(settings, PREFIX)
    for key, model in settings.models.items():
        of_all = {problem.hint for problem in _model(settings, PREFIX)}
        prefix = DELIMITER.join([PREFIX + MODELS.upper(), key.upper(), ""])
        yield from (problem for problem in _model(model, prefix) if problem.hint not in of_all)


def warnings(settings: Settings) -> Iterator[Problem]:
    """What works as it is set, and may not be what was meant."""
    if settings.is_fleet and settings.archive_url is None:
        hint = "is not set: datasets and versions are only on the machine that made them, where no other can use them;"
        name = "name a folder that all machines have mounted, or s3://BUCKET/PREFIX"
        yield Problem("DRIFTD_ARCHIVE_URL", None, "", f"{hint} {name}")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def _database(settings: Settings) -> Iterator[Problem]:
    if settings.database_password is None:
        return
    url = settings.database_url
    if url is None or not re.match(r"postgresql(\+\w+)?://[^:@/?#]+@", url.get_secret_value()):
        hint = "DRIFTD_DATABASE_PASSWORD belongs to a user that the URL names, without a password of its own"
        yield Problem("DRIFTD_DATABASE_URL", None, "postgresql://USER@HOST/DATABASE", hint)


def _slack(settings: Settings) -> Iterator[Problem]:
    if settings.slack_webhook_url and settings.slack_bot_token:
        hint = "alerts go out by DRIFTD_SLACK_WEBHOOK_URL or by DRIFTD_SLACK_BOT_TOKEN: set one of the two"
        yield Problem("DRIFTD_SLACK_WEBHOOK_URL", None, "", hint)
    if settings.slack_bot_token and not settings.slack_channel:
        yield Problem("DRIFTD_SLACK_CHANNEL", None, "the channel for DRIFTD_SLACK_BOT_TOKEN", "it is not set")
    if settings.slack_app_token and not settings.slack_bot_token:
        yield Problem("DRIFTD_SLACK_BOT_TOKEN", None, "set beside DRIFTD_SLACK_APP_TOKEN", "it is not set")


def _archive(settings: Settings) -> Iterator[Problem]:
    keys = {
        "DRIFTD_ARCHIVE_ACCESS_KEY": settings.archive_access_key,
        "DRIFTD_ARCHIVE_SECRET_KEY": settings.archive_secret_key,
    }
    given = [variable for variable, key in keys.items() if key is not None]
    if given and not (settings.archive_url or "").startswith("s3://"):
        hint = "has no effect: DRIFTD_ARCHIVE_URL is no s3:// address; set that, or leave the key out"
        yield from (Problem(variable, None, "", hint) for variable in given)
    elif len(given) == 1:
        (missing,) = set(keys) - set(given)
        yield Problem(missing, None, f"set beside {given[0]}", "it is not set")


def _kafka(settings: Settings) -> Iterator[Problem]:
    kafka, encrypted = settings.kafka, settings.broker.startswith("kafka+ssl:")
    if not settings.broker.startswith("kafka"):
        if kafka.username or kafka.password:
            yield Problem("DRIFTD_BROKER", settings.broker, "kafka://... or kafka+ssl://...", "a Kafka login is set")
        return
    if kafka.username and kafka.password is None:
        hint = "is not set, and DRIFTD_KAFKA__USERNAME needs it (or DRIFTD_KAFKA__PASSWORD_FILE)"
        yield Problem("DRIFTD_KAFKA__PASSWORD", None, "", hint)
    if kafka.password is not None and not kafka.username:
        yield Problem("DRIFTD_KAFKA__USERNAME", None, "", "is not set, and DRIFTD_KAFKA__PASSWORD needs it")
    if kafka.username and kafka.mechanism is KafkaMechanism.PLAIN and not encrypted:
        hint = "PLAIN would send the password in the clear: kafka+ssl://, or DRIFTD_KAFKA__MECHANISM=SCRAM-SHA-512"
        yield Problem("DRIFTD_BROKER", settings.broker, "kafka+ssl://...", hint)
    if kafka.ca is not None and not encrypted:
        yield Problem("DRIFTD_BROKER", settings.broker, "kafka+ssl://...", "DRIFTD_KAFKA__CA is set")


def _role(settings: Settings) -> Iterator[Problem]:
    if settings.role == ALL_ROLES or settings.is_fleet:
        return
    needed = {
        "DRIFTD_BROKER=kafka://HOST:PORT,...": settings.broker.startswith("kafka"),
        "DRIFTD_DATABASE_URL=postgresql://USER@HOST/DATABASE": settings.store_url.startswith("postgresql"),
    }
    missing = " and ".join(one for one, given in needed.items() if not given)
    alone = f"{','.join(Role)} for a daemon alone"
    yield Problem("DRIFTD_ROLE", shown(settings.role), alone, f"several share the work once all have {missing}")


def _model(model: ModelSettings, prefix: str) -> Iterator[Problem]:
    needs = (
        (model.retrain.trainer == "command" and not model.retrain.command, "RETRAIN__COMMAND", 'the trainer "command"'),
        (
            model.deploy.deployer == "command" and not model.deploy.command,
            "DEPLOY__COMMAND",
            'the deployer "command"',
        ),
        (model.deploy.deployer == "webhook" and not model.deploy.url, "DEPLOY__URL", 'the deployer "webhook"'),
    )
    for missing, variable, wanted_by in needs:
        if missing:
            yield Problem(prefix + variable, None, "", f"is not set, and {wanted_by} needs it")
