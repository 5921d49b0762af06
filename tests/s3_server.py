"""An S3 server on this machine: S3Proxy (Apache-2.0) over a folder, its jars from Maven Central.

It checks signatures, takes uploads in parts and answers as Amazon does to a wrong key or a bucket that is not there.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

VERSION = "4.1.0"
ACCESS_KEY = "driftd-tests"
SECRET_KEY = "it is/secret+and=odd"
BUCKET = "driftd"
START_SECONDS = 60.0
DOWNLOAD_SECONDS = 300.0
LEAST_JAVA = 17

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>driftd</groupId><artifactId>s3-server</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.gaul</groupId><artifactId>s3proxy</artifactId><version>{VERSION}</version></dependency>
    <!-- of the two that it asks for, Maven would take the older one -->
    <dependency>
      <groupId>com.fasterxml.jackson.core</groupId><artifactId>jackson-annotations</artifactId><version>2.21</version>
    </dependency>
  </dependencies>
</project>
"""
LOGGING = """<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%msg%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"""
PROPERTIES = """s3proxy.authorization=aws-v2-or-v4
s3proxy.identity={identity}
s3proxy.credential={credential}
s3proxy.endpoint=http://127.0.0.1:{port}
jclouds.provider=filesystem-nio2
jclouds.identity=none
jclouds.credential=none
jclouds.filesystem.basedir={folder}
"""


class Unavailable(Exception):
    """This machine cannot run the server; the text says why."""


def jars() -> Path:
    """The folder of the jars; fetched once, and kept. Raises Unavailable."""
    if shutil.which("java") is None:
        raise Unavailable("no S3 server: it needs java")
    told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', told)
    if found is None or int(found[1]) < LEAST_JAVA:
        raise Unavailable(f"no S3 server: it needs Java {LEAST_JAVA}, not {told.splitlines()[0]}")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "driftd-tests" / f"s3proxy-{VERSION}"
    if not home.is_dir():
        _fetch(home)
    return home


def _fetch(home: Path) -> None:
    if shutil.which("mvn") is None:
        raise Unavailable("no S3 server: fetching it needs mvn")
    staged = home.with_name(f"{home.name}-{os.getpid()}")
    staged.mkdir(parents=True)
    try:
        (staged / "pom.xml").write_text(POM)
        copy = ["dependency:copy-dependencies", f"-DoutputDirectory={staged}", "-DincludeScope=runtime"]
        try:
            done = subprocess.run(
                ["mvn", "-q", "-B", *copy],
                cwd=staged,
                capture_output=True,
                text=True,
                timeout=DOWNLOAD_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"no S3 server: Maven took longer than {DOWNLOAD_SECONDS:g} s") from None
        if done.returncode:
            raise Unavailable(f"no S3 server: Maven cannot fetch it: {done.stdout.strip()[:300]}")
        if not home.exists():
            staged.rename(home)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


class S3Server:
    """A server with one bucket, which can be stopped and started again, with all that it holds."""

    def __init__(self, folder: Path) -> None:
        self._jars = jars()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        (folder / "data" / BUCKET).mkdir(parents=True)
        (folder / "logback.xml").write_text(LOGGING)
        settings = PROPERTIES.format(identity=ACCESS_KEY, credential=SECRET_KEY, port=self.port, folder=folder / "data")
        (folder / "s3proxy.conf").write_text(settings)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def address(self, prefix: str, bucket: str = BUCKET) -> str:
        """What DRIFTD_ARCHIVE_URL would be."""
        return f"s3://{bucket}/{quote(prefix)}?endpoint_override={self.endpoint}&region=us-east-1"

    def start(self) -> None:
        command = ["java", "-Xmx256m", f"-Dlogback.configurationFile={self._folder / 'logback.xml'}"]
        command += ["-cp", f"{self._jars}/*", "org.gaul.s3proxy.Main", "--properties"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, str(self._folder / "s3proxy.conf")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until = time.monotonic() + START_SECONDS
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise RuntimeError(f"the S3 server did not start:\n{(self._folder / 'log').read_text()[-3_000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()  # as if the machine were gone
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0
