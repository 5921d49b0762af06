"""A real Kafka broker for the tests, where there are Java and Maven: jars from Maven Central, started as one process.

It speaks on four ports: in the clear, by TLS, and each of the two with a user and a password.
"""

from __future__ import annotations

import base64
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

VERSION = "4.1.0"
USER, PASSWORD = "driftd", "made-up-for-tests"
START_SECONDS = 60.0
DOWNLOAD_SECONDS = 300.0

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tests</groupId><artifactId>kafka-broker</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""

PLAIN_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class NoBroker(Exception):
    """This machine cannot run one; the text says why."""


def jars() -> Path:
    """The folder of the broker's jars, downloaded if it has to be. Raises NoBroker."""
    for command in ("java", "keytool", "mvn"):
        if shutil.which(command) is None:
            raise NoBroker(f"a Kafka broker needs {command}, which is not installed")
    home = os.environ.get("DRIFTD_TEST_CACHE") or Path.home() / ".cache" / "driftd-tests"
    folder = Path(home) / f"kafka-{VERSION}"
    if folder.is_dir():
        return folder
    building = folder.with_name(f"{folder.name}.{os.getpid()}")
    building.mkdir(parents=True)
    (building / "pom.xml").write_text(POM)
    copy = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs", "-DincludeScope=runtime"]
    try:
        done = subprocess.run(copy, cwd=building, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
        if done.returncode:
            said = (done.stdout or done.stderr).strip().splitlines()
            raise NoBroker(f"Maven could not get the jars of a Kafka broker: {said[0] if said else done.returncode}")
        (building / "libs").rename(folder)
    except subprocess.TimeoutExpired as late:
        raise NoBroker(f"Maven did not get the jars of a Kafka broker within {DOWNLOAD_SECONDS:.0f} s") from late
    except OSError:
        if not folder.is_dir():  # else another run of the tests was faster
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


class Broker:
    """A broker and its folder."""

    def __init__(self, folder: Path, node: int = 1) -> None:
        self.folder = folder
        self.node = node
        self.ca = folder / "ca.pem"
        self._libs = jars()
        self._ports = dict(zip(("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL", "CONTROLLER"), _free(5), strict=True))
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def begin(cls, folder: Path) -> Self:
        """Start one in an empty folder, and return when it takes connections. Raises NoBroker."""
        broker = cls(folder)
        broker.format(_cluster_id(), [broker])
        broker.start()
        return broker

    def format(self, cluster: str, brokers: list[Broker]) -> None:
        """Make its folder that of one of these brokers."""
        self._certify()
        (self.folder / "server.properties").write_text(self._properties(brokers))
        users = []
        for mechanism in MECHANISMS[1:]:
            users += ["--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]"]
        format_as = ("format", f"--cluster-id={cluster}", "-c", "server.properties", *users)
        tool = self._java("kafka.tools.StorageTool", *format_as)
        subprocess.run(tool, cwd=self.folder, check=True, capture_output=True, timeout=START_SECONDS)

    def address(self, listener: str = "PLAINTEXT") -> str:
        """Host and port of one of its listeners."""
        return f"localhost:{self._ports[listener]}"

    def start(self) -> None:
        """Start it, or start it again. Raises NoBroker where it does not come up."""
        self.launch()
        self.until_open()

    def launch(self) -> None:
        """Start its process."""
        with (self.folder / "output").open("ab") as output:
            command = self._java("kafka.Kafka", "server.properties")
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=output, stderr=output)

    def until_open(self) -> None:
        """Wait until it takes connections. Raises NoBroker where it does not come to that."""
        assert self._process is not None
        give_up = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up:
            if self._process.poll() is not None:
                break
            try:
                with socket.create_connection(("localhost", self._ports["PLAINTEXT"]), timeout=1.0):
                    return
            except OSError:
                time.sleep(0.1)
        self.kill()
        last = (self.folder / "output").read_text(errors="replace").strip().splitlines()[-1:]
        raise NoBroker(f"the Kafka broker did not start: {last}")

    def freeze(self) -> None:
        """Let it do nothing until `thaw`: connections stay open, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _java(self, main: str, *arguments: str) -> list[str]:
        options = ["-Xms128m", "-Xmx384m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        return ["java", *options, "-cp", f"{self._libs}/*", main, *arguments]

    def _certify(self) -> None:
        store = ["-alias", "broker", "-storetype", "PKCS12", "-keystore", "keys.p12", "-storepass", PASSWORD]
        make = ["-genkeypair", "-keyalg", "EC", "-dname", "CN=localhost", "-validity", "2"]
        extensions = ["-ext", "san=dns:localhost", "-ext", "bc:c=ca:true", "-ext", "ku:c=keyCertSign,digitalSignature"]
        for arguments in ([*make, *extensions, *store], ["-exportcert", "-rfc", "-file", "ca.pem", *store]):
            subprocess.run(["keytool", *arguments], cwd=self.folder, check=True, capture_output=True, timeout=60.0)

    def controller(self) -> str:
        """How the others know it as one of those that lead the cluster."""
        return f"{self.node}@localhost:{self._ports['CONTROLLER']}"

    def _properties(self, brokers: list[Broker]) -> str:
        copies = str(len(brokers))
        enough = str(len(brokers) // 2 + 1)
        listeners = ",".join(f"{name}://localhost:{port}" for name, port in self._ports.items())
        names = ",".join(f"{name}:{'PLAINTEXT' if name == 'CONTROLLER' else name}" for name in self._ports)
        lines = {
            "process.roles": "broker,controller",
            "node.id": str(self.node),
            "controller.quorum.voters": ",".join(one.controller() for one in brokers),
            "listeners": listeners,
            "advertised.listeners": listeners.rsplit(",", 1)[0],
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": names,
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": "3",
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": enough,
            "min.insync.replicas": enough,
            "default.replication.factor": copies,
            "transaction.state.log.num.partitions": "3",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "auto.create.topics.enable": "false",
            "log.retention.ms": "-1",  # tests set the time of a record as they like
            "log.retention.check.interval.ms": "500",
            "log.initial.task.delay.ms": "500",
            "file.delete.delay.ms": "100",
            "log.cleaner.enable": "false",
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.location": str(self.folder / "keys.p12"),
            "ssl.keystore.password": PASSWORD,
            "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        }
        for listener in ("sasl_plaintext", "sasl_ssl"):
            for mechanism in MECHANISMS:
                login = f"{SCRAM_LOGIN} required;"
                if mechanism == "PLAIN":
                    login = f'{PLAIN_LOGIN} required user_{USER}="{PASSWORD}";'
                lines[f"listener.name.{listener}.{mechanism.lower()}.sasl.jaas.config"] = login
        return "".join(f"{name}={value}\n" for name, value in lines.items())


class Cluster:
    """Three brokers, of which any one may be away: all that is stored is on two others."""

    def __init__(self, folder: Path) -> None:
        self.brokers = [Broker(folder / str(node), node) for node in (1, 2, 3)]

    @classmethod
    def begin(cls, folder: Path) -> Self:
        """Start them in an empty folder, and return when all take connections. Raises NoBroker."""
        cluster, name = cls(folder), _cluster_id()
        for one in cluster.brokers:
            one.folder.mkdir()
            one.format(name, cluster.brokers)
            one.launch()
        for one in cluster.brokers:
            one.until_open()
        return cluster

    def address(self, listener: str = "PLAINTEXT") -> str:
        """Host and port of one of the listeners of each."""
        return ",".join(one.address(listener) for one in self.brokers)

    def kill(self) -> None:
        """End all at once."""
        for one in self.brokers:
            one.kill()


def _cluster_id() -> str:
    return base64.urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()


def _free(count: int) -> list[int]:
    """Ports below those that systems hand out by themselves: none is taken before the broker listens there."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        try:
            socket.create_server(("localhost", port)).close()
        except OSError:
            continue
        found.append(port)
    return found
