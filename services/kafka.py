"""A real Apache Kafka on this machine, for development and tests: one node, no container, nothing but Java.

    python3 services/kafka.py start|stop|status|kill DIR [--port N]

DIR is one broker: its log, its settings, its output (`broker.out`) and, while it runs, `broker.json`. `stop` lets it
close its log, `kill` does not; both keep DIR. The jars that `services/kafka/pom.xml` pins are fetched once, by Maven,
into `.services/kafka/lib`. Needs only the standard library, so that it works before `make setup` does.
"""

import argparse
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent / "kafka"
JARS = HERE.parent.parent / ".services" / "kafka"
JAVA_VERSION_MIN = 17
PORT = 19092
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
POLL_S = 0.05


class NotDone(Exception):
    """What happened, what was not done, and the cure."""


def main() -> None:
    """Do one command; say in one line what came of it."""
    parser = argparse.ArgumentParser(prog="kafka.py", description="A real Apache Kafka for development and tests.")
    parser.add_argument("command", choices=["start", "stop", "status", "kill"])
    parser.add_argument("dir", type=Path, metavar="DIR", help="where this broker keeps everything")
    parser.add_argument("--port", type=int, default=PORT, help="its port; the one after it is taken too (%(default)s)")
    arguments = parser.parse_args()
    broker = Broker(arguments.dir.resolve(), arguments.port)
    commands: dict[str, Callable[[], str]] = {
        "start": broker.start,
        "stop": lambda: broker.end(signal.SIGTERM),
        "kill": lambda: broker.end(signal.SIGKILL),
        "status": broker.status,
    }
    try:
        print(commands[arguments.command]())
    except NotDone as problem:
        sys.exit(f"kafka: {problem}")


class Broker:
    """One broker in one directory."""

    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.port = port
        self.note = home / "broker.json"
        self.output = home / "broker.out"

    def start(self) -> str:
        """Start it, and wait until it takes requests."""
        if running := self._running():
            if running["port"] != self.port:
                raise NotDone(
                    f"the broker of {self.home} already runs, on port {running['port']}. Nothing was started. "
                    "Stop it first, or give another directory."
                )
            return f"Kafka already runs on 127.0.0.1:{self.port}, pid {running['pid']}"
        java = _java()
        libraries = _fetched_jars()
        for port in (self.port, self.port + 1):
            _check_free(port)
        self._prepare(java, libraries)
        begun = time.monotonic()
        child = self._spawn(java, libraries)
        self.note.write_text(json.dumps({"pid": child.pid, "port": self.port}))
        self._wait_until_ready(child, begun)
        return f"Kafka takes requests on 127.0.0.1:{self.port} after {time.monotonic() - begun:.1f} s, pid {child.pid}"

    def end(self, how: signal.Signals) -> str:
        """Stop or kill it, and wait until it is gone. What does not listen to SIGTERM is killed."""
        running = self._running()
        if running is None:
            self.note.unlink(missing_ok=True)
            return f"no broker of {self.home} runs"
        pid = running["pid"]
        os.kill(pid, how)
        word = "killed" if how is signal.SIGKILL else "stopped"
        if not self._gone(pid):
            os.kill(pid, signal.SIGKILL)
            word = f"killed, since it did not stop within {STOP_TIMEOUT_S:.0f} s"
            if not self._gone(pid):
                raise NotDone(f"pid {pid} outlives SIGKILL. It still runs. See what it waits for: /proc/{pid}/wchan.")
        self.note.unlink(missing_ok=True)
        return f"Kafka on 127.0.0.1:{running['port']} was {word}"

    def status(self) -> str:
        """Whether it runs and takes requests; an error when it does not."""
        running = self._running()
        if running is None:
            raise NotDone(f"no broker of {self.home} runs. Start one: make services")
        if _brokers_at(running["port"]) == 0:
            raise NotDone(f"pid {running['pid']} runs, but port {running['port']} does not answer. See {self.output}.")
        return f"Kafka takes requests on 127.0.0.1:{running['port']}, pid {running['pid']}"

    def _running(self) -> dict[str, int] | None:
        """The pid and port in our note, if that process still is this broker and not a later one with its pid."""
        try:
            note: dict[str, int] = json.loads(self.note.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return note if self._sign() in _command_line(note["pid"]) else None

    def _sign(self) -> str:
        """What marks our process among all others: it stands in its command line."""
        return f"-Dsetpoint.kafka={self.home}"

    def _gone(self, pid: int) -> bool:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self._sign() in _command_line(pid):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def _prepare(self, java: str, libraries: Path) -> None:
        """Settings and a formatted log; a log that is there is kept."""
        self.home.mkdir(parents=True, exist_ok=True)
        settings = (HERE / "server.properties").read_text()
        settings = settings.replace("@PORT@", str(self.port)).replace("@CONTROLLER_PORT@", str(self.port + 1))
        (self.home / "server.properties").write_text(settings)
        if (self.home / "log" / "meta.properties").exists():
            return
        call = [*self._jvm(java, libraries), "kafka.tools.StorageTool", "format"]
        call += ["--cluster-id", _new_cluster_id(), "--config", "server.properties"]
        with self.output.open("ab") as output:
            formatted = subprocess.run(call, cwd=self.home, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        if formatted.returncode != 0:
            raise NotDone(f"the log in {self.home} could not be formatted. Nothing was started. See {self.output}.")

    def _spawn(self, java: str, libraries: Path) -> subprocess.Popen[bytes]:
        """The broker in a session of its own, so that an interrupt at the terminal does not reach it."""
        with self.output.open("ab") as output:
            return subprocess.Popen(
                [*self._jvm(java, libraries), "kafka.Kafka", "server.properties"],
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _jvm(self, java: str, libraries: Path) -> list[str]:
        """A small Java that starts fast: this broker never lives long enough to be worth compiling well."""
        heap = ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        level = os.environ.get("KAFKA_LOG_LEVEL", "warn")
        logging = [f"-Dorg.slf4j.simpleLogger.defaultLogLevel={level}", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
        return [java, *heap, *logging, self._sign(), "-cp", str(libraries / "*")]

    def _wait_until_ready(self, child: subprocess.Popen[bytes], begun: float) -> None:
        while _brokers_at(self.port) == 0:
            if child.poll() is not None:
                self.note.unlink()
                raise NotDone(f"the broker left with exit code {child.returncode}. See {self.output}.")
            if time.monotonic() - begun > READY_TIMEOUT_S:
                child.kill()
                child.wait()
                self.note.unlink()
                raise NotDone(f"the broker was not ready in {READY_TIMEOUT_S:.0f} s and was killed. See {self.output}.")
            time.sleep(POLL_S)


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


def _fetched_jars() -> Path:
    """The folder with exactly the pinned jars; fetched anew when the pins have changed."""
    pins = HERE / "pom.xml"
    pinned = hashlib.sha256(pins.read_bytes()).hexdigest()
    folder, stamp = JARS / "lib", JARS / "lib" / "pins.sha256"
    JARS.mkdir(parents=True, exist_ok=True)
    with _only_one(JARS / "fetch.lock"):
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
    print("fetching Apache Kafka with Maven, once (45 MB)", flush=True)
    call = [maven, "-B", "-q", "-f", str(pins), "dependency:copy-dependencies"]
    call += [f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
    done = subprocess.run(call, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0 or not any(folder.glob("kafka_*.jar")):
        last_lines = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        raise NotDone(
            f"Maven could not fetch Kafka. Nothing was started. Is the network there? Maven says:\n{last_lines}"
        )


@contextlib.contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """One process at a time, so that two that start at once do not fetch into each other's folder."""
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _check_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as problem:
            raise NotDone(
                f"port {port} is taken ({problem}). Nothing was started. Choose another with --port."
            ) from problem


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


def _command_line(pid: int) -> str:
    """How a process was called; empty when there is none. A zombie has none either."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
