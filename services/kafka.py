"""A real Apache Kafka on this machine, for development and tests: one broker or several, nothing but Java.

    python3 services/kafka.py start DIR [--port N] [--brokers 3] [-- setting=value ...]
    python3 services/kafka.py stop|kill|status DIR

DIR is one broker; of a cluster DIR/1, DIR/2 and so on are, at N, N+2, N+4: what is done to DIR is done to all of them,
and `kill DIR/2` ends one, which `start DIR` brings back. What stands behind `--` goes over the broker's settings. The
jars that `services/kafka/pom.xml` pins are fetched once, by Maven. The rest is told in `standing.py`.
"""

import argparse
import base64
import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

from machine import CACHE, NotDone, only_one
from standing import Part, Server, main

HERE = Path(__file__).resolve().parent / "kafka"
JARS = CACHE / "kafka"
JAVA_VERSION_MIN = 17
PORT = 19092
COPIES_MAX = 3


class Broker(Server):
    """One broker in one directory: the n-th of `count`, whose first one listens on `first_port`."""

    title = "Kafka"

    def __init__(
        self, home: Path, first_port: int, program: Sequence[str] = (), *, number: int = 1, count: int = 1
    ) -> None:
        super().__init__(home, _port_of(first_port, number), program)
        self._first_port = first_port
        self._number = number
        self._count = count

    def sign(self) -> str:
        return f"-Dsetpoint.kafka={self.home}"

    def ports(self) -> Sequence[int]:
        return [self.port, self.port + 1]

    def fetch(self) -> None:
        self._java = _java()
        self._libraries = fetched()

    def prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "server.properties").write_text(self._settings())
        if not (self.home / "log" / "meta.properties").exists():
            self._format()

    def call(self) -> Sequence[str]:
        over = [word for setting in self.program for word in ("--override", setting)]
        return [*self._jvm(), "kafka.Kafka", "server.properties", *over]

    def answers(self, port: int) -> bool:
        """Whether it knows the whole cluster. Of a cluster that it did not start, some of it will do."""
        return _brokers_at(port) >= self._count

    def _settings(self) -> str:
        numbers = range(1, self._count + 1)
        voters = ",".join(f"{n}@127.0.0.1:{_port_of(self._first_port, n) + 1}" for n in numbers)
        copies = min(COPIES_MAX, self._count)
        filled = {"NODE": self._number, "PORT": self.port, "CONTROLLER_PORT": self.port + 1, "VOTERS": voters}
        filled |= {"COPIES": copies, "COPIES_IN_SYNC": (copies + 1) // 2}
        settings = (HERE / "server.properties").read_text()
        for name, value in filled.items():
            settings = settings.replace(f"@{name}@", str(value))
        return settings

    def _format(self) -> None:
        call = [*self._jvm(), "kafka.tools.StorageTool", "format", "--config", "server.properties"]
        call += ["--cluster-id", self._cluster_id()]
        with self.output.open("ab") as output:
            formatted = subprocess.run(call, cwd=self.home, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        if formatted.returncode != 0:
            raise NotDone(f"the log in {self.home} could not be formatted. Nothing was started. {self.last_words()}")

    def _cluster_id(self) -> str:
        """The same for all brokers of a cluster: the first to be formatted makes it."""
        if self._count == 1:
            return _new_cluster_id()
        shared = self.home.parent / "cluster-id"
        if not shared.exists():
            shared.write_text(_new_cluster_id())
        return shared.read_text()

    def _jvm(self) -> list[str]:
        """A small Java that starts fast: this broker never lives long enough to be worth compiling well."""
        heap = ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        level = os.environ.get("KAFKA_LOG_LEVEL", "warn")
        logging = [f"-Dorg.slf4j.simpleLogger.defaultLogLevel={level}", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
        return [self._java, *heap, *logging, self.sign(), "-cp", str(self._libraries / "*")]


def brokers_of(arguments: argparse.Namespace) -> Sequence[Broker]:
    """The brokers of a directory: as many as are asked for, or as are there."""
    home = arguments.dir
    count = getattr(arguments, "brokers", None) or sum(1 for _ in home.glob("[1-9]/server.properties")) or 1
    if count == 1:
        return [Broker(home, arguments.port, arguments.program)]
    return [
        Broker(home / str(number), arguments.port, arguments.program, number=number, count=count)
        for number in range(1, count + 1)
    ]


def _port_of(first_port: int, number: int) -> int:
    """Each broker has two ports: its clients' and, behind it, its controller's."""
    return first_port + 2 * (number - 1)


def _java() -> str:
    """A Java that is new enough."""
    cure = f"Install Java {JAVA_VERSION_MIN} or newer (on Debian: apt-get install default-jre-headless)."
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if java is None:
        raise NotDone(f"there is no java on this machine, and Kafka needs one. Nothing was started. {cure}")
    said = subprocess.run([java, "-version"], capture_output=True, text=True)
    found = re.search(r'version "(\d+)', said.stderr + said.stdout)
    if found is None or int(found[1]) < JAVA_VERSION_MIN:
        raise NotDone(f"{java} is too old for Kafka, or no Java. Nothing was started. {cure}")
    return java


def fetched() -> Path:
    """The folder with exactly the pinned jars; fetched anew when the pins have changed. Raises NotDone."""
    pins = HERE / "pom.xml"
    pinned = hashlib.sha256(pins.read_bytes()).hexdigest()
    folder, stamp = JARS / "lib", JARS / "lib" / "pins.sha256"
    with only_one(JARS):
        if stamp.exists() and stamp.read_text() == pinned:
            return folder
        fresh = JARS / "lib.part"
        shutil.rmtree(fresh, ignore_errors=True)
        _fetch(pins, fresh)
        (fresh / stamp.name).write_text(pinned)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    return folder


def _fetch(pins: Path, folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise NotDone(
            "Kafka's jars are not here yet, and there is no mvn to fetch them. Nothing was started. "
            "Install Maven (on Debian: apt-get install maven)."
        )
    print("fetching Apache Kafka with Maven, once (45 MB)", file=sys.stderr, flush=True)
    call = [maven, "-B", "-q", "-f", str(pins), "dependency:copy-dependencies"]
    call += [f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
    done = subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0 or not any(folder.glob("kafka_*.jar")):
        last_lines = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise NotDone(
            f"Maven could not fetch Kafka. Nothing was started. Is the network there? Maven says:\n{last_lines}"
        )


def _new_cluster_id() -> str:
    """22 characters of base64, as Kafka writes its ids. A leading dash would be read as an option."""
    return "S" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]


def _brokers_at(port: int) -> int:
    """How many brokers a Metadata answer lists: 0 while none has registered, or nobody answers."""
    api, version, correlation, no_client, no_topics = 3, 1, 1, -1, 0
    request = struct.pack(">hhihi", api, version, correlation, no_client, no_topics)
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2.0) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as answer:
                _length, _correlation, brokers = struct.unpack(">iii", answer.read(12))
                return int(brokers)
    except (OSError, struct.error):
        return 0


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--brokers", type=int, metavar="N", help="how many (as many as there are, or one)")


PART = Part(
    name="kafka",
    title="Apache Kafka",
    port=PORT,
    fetch=fetched,
    servers=brokers_of,
    options=_options,
)

if __name__ == "__main__":
    main(PART)
