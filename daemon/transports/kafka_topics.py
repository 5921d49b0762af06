"""Reaches a cluster when the daemon starts, and sees to it that the topics are there."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    BrokerResponseError,
    InvalidTopicError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from daemon.transports.errors import BrokerUnreachable, CannotOpen
from daemon.transports.kafka_logs import quieten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from daemon.transports.kafka_options import Cluster

logger = logging.getLogger(__name__)

LARGEST_RECORD = 8 << 20  # bytes; what topics that are made here take, whatever the cluster's default is
CREATE_SECONDS = 15.0
LOOK_AGAIN_SECONDS = 0.1


async def ensure_topics(cluster: Cluster, topics: Sequence[str]) -> None:
    """Return when all topics are there, made here if need be.

    Raises BrokerUnreachable where no broker answers, and CannotOpen where it refuses us or a topic is missing and
    not to be made: the text has the command that makes it.
    """
    missing = await missing_topics(cluster, topics)
    if not missing:
        return
    if not cluster.options.create_topics:
        raise CannotOpen(_not_there(cluster, missing, "DRIFTD_KAFKA__CREATE_TOPICS is false"))
    try:
        await _create(cluster, missing)
        async with asyncio.timeout(CREATE_SECONDS):
            while await missing_topics(cluster, topics):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
    except (OSError, KafkaError, TimeoutError) as error:
        raise BrokerUnreachable(f"the Kafka cluster {cluster.bootstrap} does not answer ({error!r})") from error


async def missing_topics(cluster: Cluster, topics: Sequence[str]) -> list[str]:
    """Return which of these topics are not there. Raises BrokerUnreachable, and CannotOpen where we are refused."""
    connection = await _connect(cluster)
    try:
        answer = await connection.send(MetadataRequest(list(topics), allow_auto_topic_creation=False))
    except (OSError, KafkaError, TimeoutError) as error:
        raise BrokerUnreachable(f"the Kafka cluster {cluster.bootstrap} does not answer ({error!r})") from error
    finally:
        connection.close()
    missing = []
    for topic in answer.to_object()["topics"]:
        name, code = topic["topic"], for_code(topic["error_code"])
        if code is UnknownTopicOrPartitionError:
            missing.append(name)
        elif code is TopicAuthorizationFailedError:
            user = cluster.options.username or "ANONYMOUS"
            raise CannotOpen(
                f"driftd may not use the topic {name}; allow it: kafka-acls.sh --bootstrap-server {cluster.bootstrap} "
                f"--add --allow-principal User:{user} --operation Read --operation Write --operation Describe "
                f"--topic {name}"
            )
        elif code is InvalidTopicError:
            raise CannotOpen(f"Kafka takes no topic of the name {name!r}; set DRIFTD_TOPICS to another")
    return missing


async def _connect(cluster: Cluster) -> AIOKafkaConnection:
    """A connection to the first broker that takes one: with the reason why not, which clients keep to themselves."""
    quieten()
    reasons = []
    for server in cluster.servers:
        host, _, port = server.rpartition(":")
        try:
            return await create_conn(host.strip("[]"), int(port), **cluster.client_settings())
        except BrokerResponseError as refused:
            raise CannotOpen(
                f"the Kafka broker {server} refuses driftd: {_text(refused)}; look at DRIFTD_KAFKA__USERNAME, "
                "DRIFTD_KAFKA__PASSWORD (or DRIFTD_KAFKA__PASSWORD_FILE) and DRIFTD_KAFKA__MECHANISM"
            ) from refused
        except ssl.SSLCertVerificationError as untrusted:
            raise CannotOpen(
                f"the certificate of the Kafka broker {server} is not trusted: {untrusted.verify_message}; "
                "DRIFTD_KAFKA__CA takes a file of the certificates to trust, in PEM"
            ) from untrusted
        except (OSError, KafkaError, TimeoutError) as error:
            reasons.append(f"{server}: {_text(error)}")
    wrong_door = "kafka+ssl:// where TLS is not spoken" if cluster.encrypted else "kafka:// where TLS is spoken"
    raise BrokerUnreachable(
        f"no Kafka broker can be reached ({'; '.join(reasons)}); look at DRIFTD_BROKER: the host, the port, and "
        f"whether it says {wrong_door}"
    )


async def _create(cluster: Cluster, topics: Sequence[str]) -> None:
    options = cluster.options
    replication = -1 if options.replication is None else options.replication
    settings = {"max.message.bytes": str(LARGEST_RECORD)}
    placed: dict[int, list[int]] | None = (
        {} if options.replication is None else None
    )  # what aiokafka asks for where the cluster is to choose
    new = [NewTopic(topic, options.partitions, replication, placed, settings) for topic in topics]
    admin = AIOKafkaAdminClient(bootstrap_servers=list(cluster.servers), **cluster.client_settings())
    try:
        await admin.start()
        answer = await admin.create_topics(new)
    finally:
        await admin.close()
    for name, code, *rest in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise CannotOpen(_not_there(cluster, [name], (rest and rest[0]) or error.description))
        logger.info("made the topic %s", name)


def _not_there(cluster: Cluster, topics: Sequence[str], reason: str) -> str:
    options = cluster.options
    replication = "" if options.replication is None else f" --replication-factor {options.replication}"
    commands = "; ".join(
        f"kafka-topics.sh --bootstrap-server {cluster.bootstrap} --create --topic {topic} "
        f"--partitions {options.partitions}{replication} --config max.message.bytes={LARGEST_RECORD}"
        for topic in topics
    )
    return f"there is no topic {', '.join(topics)}, and driftd does not make it ({reason}); make it: {commands}"


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
