"""Apache Kafka in KRaft mode, one node, for the tests that count. Needs Java 17 and, once, Maven."""

import asyncio
import base64
import contextlib
import fcntl
import functools
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from stream.embedded.process import ServerFailed, free_ports, kafka_answers, running, scratch

VERSION: Final = "4.1.0"
JAVA_MAJOR: Final = 17
HEAP: Final = "512m"
CACHE: Final = Path("build/kafka")

POM: Final = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>livesegments</groupId><artifactId>embedded-kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version>
    </dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""

# Nothing is deleted by age: tests write records whose own stamps are months old.
PROPERTIES: Final = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
log.retention.ms=-1
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""


def available(cache: Path = CACHE, version: str = VERSION) -> str | None:
    """Why Kafka cannot run on this machine, or None if it can."""
    major = _java_major()
    if major is None:
        return f"no `java` on the path (Java {JAVA_MAJOR} or newer is needed)"
    if major < JAVA_MAJOR:
        return f"`java` is version {major}, Kafka needs {JAVA_MAJOR} or newer"
    if not _libs(cache, version).is_dir() and shutil.which("mvn") is None:
        return f"no `mvn` on the path to fetch Kafka with, and {_libs(cache, version)} does not exist"
    return None


@contextlib.asynccontextmanager
async def kafka(*, port: int | None = None, cache: Path = CACHE, version: str = VERSION) -> AsyncIterator[str]:
    """Run an empty broker on the loopback interface and yield its address, ``host:port``.

    The first call fetches Kafka from Maven Central into ``cache`` (43 MB). Raises ``ServerFailed`` if that
    fails or the broker does not come up.
    """
    if (why := available(cache, version)) is not None:
        raise ServerFailed(f"Apache Kafka cannot run here: {why}")
    classpath = f"{(await asyncio.to_thread(_fetch, cache, version)).resolve()}/*"
    broker_port, controller_port = free_ports(2)
    port = port or broker_port
    with scratch("kafka") as directory:
        properties = directory / "server.properties"
        data = directory / "data"
        properties.write_text(PROPERTIES.format(port=port, controller=controller_port, data=data))
        await asyncio.to_thread(_format, classpath, properties)
        address = f"127.0.0.1:{port}"
        command = ["java", f"-Xmx{HEAP}", "-XX:+UseG1GC", "-cp", classpath, "kafka.Kafka", str(properties)]
        async with running(
            command,
            name="Apache Kafka",
            probe=lambda: kafka_answers(address),
            directory=directory,
            start_seconds=60.0,
        ):
            yield address


def _libs(cache: Path, version: str) -> Path:
    return cache / version / "libs"


def _fetch(cache: Path, version: str) -> Path:
    libs = _libs(cache, version)
    if libs.is_dir():
        return libs
    libs.parent.mkdir(parents=True, exist_ok=True)
    with open(libs.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes; Maven's own repository is made for one
        return libs if libs.is_dir() else _download(libs, version)


def _download(libs: Path, version: str) -> Path:
    # Fetched beside and then renamed: a broken download never leaves half a Kafka.
    with tempfile.TemporaryDirectory(dir=libs.parent, ignore_cleanup_errors=True) as work:
        pom = Path(work, "pom.xml")
        pom.write_text(POM.format(version=version))
        _run(
            ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DoutputDirectory=libs"],
            what=f"fetching Kafka {version} from Maven Central",
        )
        Path(work, "libs").rename(libs)
    return libs


def _format(classpath: str, properties: Path) -> None:
    # "u": an id that starts with a dash would be taken for an option.
    cluster = "u" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
    tool = ["java", "-XX:TieredStopAtLevel=1", "-cp", classpath, "kafka.tools.StorageTool"]
    _run([*tool, "format", "-t", cluster, "-c", str(properties)], what="formatting Kafka's storage")


def _run(command: list[str], *, what: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stdout + done.stderr).splitlines()[-15:]
        raise ServerFailed("\n".join([f"{what} failed with code {done.returncode}:", *lines]))


@functools.cache
def _java_major() -> int | None:
    if shutil.which("java") is None:
        return None
    text = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', text)
    return int(found[1]) if found else None
