"""A broker for one suite: Highwater's binary or Apache Kafka, on free ports, with a folder of its own."""

import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from . import prepare

START_LIMIT_S = 90
STOP_LIMIT_S = 60
CLUSTER_ID = "aGlnaHdhdGVyLXN1aXRlcw"
# Tests choose timestamps years ago, and half a minute after its start a broker would delete those records.
KEEP_ALL = {"log.retention.ms": -1}


class HeldPorts:
    """Ports that are ours between two lives of a broker, too.

    A socket that is bound and does not listen keeps the system from giving its port to somebody's connection."""

    def __init__(self):
        self.holders = []

    def take(self):
        holder = socket.socket()
        self.holders.append(holder)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        return holder.getsockname()[1]

    def let_go(self):
        for holder in self.holders:
            holder.close()


class Broker:
    """What the suites know of a broker: where it listens, where its files are, and how it starts and stops."""

    def __init__(self, features):
        # Levels at which its folder begins, where they are not the newest.
        self.features = [word for name, level in (features or {}).items() for word in ("--feature", f"{name}={level}")]
        self.home = Path(tempfile.mkdtemp(prefix="highwater-suite-"))
        self.data = self.home / "data"
        self.output = self.home / "output.log"
        self.process = None
        self.host, self.port = "127.0.0.1", None
        self.held = HeldPorts()

    @property
    def bootstrap(self):
        return f"{self.host}:{self.port}"

    @property
    def address(self):
        return (self.host, self.port)

    def partition_folder(self, topic, partition=0):
        """The folder of a partition, wherever below the data folder this broker keeps it."""
        found = [path for path in self.data.rglob(f"{topic}-{partition}") if path.is_dir()]
        assert len(found) == 1, f"{len(found)} folders named {topic}-{partition} below the data folder"
        return found[0]

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        """Asks for a clean stop and waits for it."""
        self.end(signal.SIGTERM)

    def kill(self):
        self.end(signal.SIGKILL)

    def end(self, with_signal):
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(with_signal)
        try:
            code = process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the broker did not stop within {STOP_LIMIT_S} s of signal {with_signal}") from None
        clean = (0, -signal.SIGTERM, 128 + signal.SIGTERM)
        if with_signal == signal.SIGTERM and code not in clean:
            raise AssertionError(f"the broker ended with {code}: {self.tail()}")

    def launch(self, command):
        # Appended, so that the words of a first life survive a restart.
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def wait_until(self, ready, what):
        deadline = time.monotonic() + START_LIMIT_S
        while not ready():
            if not self.alive():
                raise prepare.CannotPrepare(f"the broker ended before {what}: {self.tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise prepare.CannotPrepare(f"no {what} within {START_LIMIT_S} s: {self.tail()}")
            time.sleep(0.02)

    def tail(self, size=2000):
        return self.output.read_text(errors="replace")[-size:] if self.output.exists() else ""

    def remove(self):
        if self.process is not None:
            self.kill()
        self.held.let_go()
        shutil.rmtree(self.home, ignore_errors=True)


class Highwater(Broker):
    name = "highwater"
    # Further arguments.
    more = ()

    def __init__(self, settings=None, features=None):
        super().__init__(features)
        self.settings = KEEP_ALL | (settings or {})
        self.binary = prepare.highwater_binary()

    def start(self):
        ready_file = self.home / "ready.json"
        ready_file.unlink(missing_ok=True)
        # A restart takes the same port again: clients of the first life find it.
        if self.port is None:
            self.port = self.choose_port()
        listen = f"127.0.0.1:{self.port}"
        command = [self.binary, "serve", "--listen", listen, "--data-dir", self.data, "--ready-json", ready_file, *map(str, self.more),
                   *self.features]
        for key, value in self.settings.items():
            command += ["-c", f"{key}={value}"]
        self.launch(command)
        self.wait_until(lambda: complete_json(ready_file), "ready file")
        ready = json.loads(ready_file.read_text())
        self.host, port = ready["nodes"][0]["listen"].rsplit(":", 1)
        self.port = int(port)
        self.told(ready)
        return self

    def choose_port(self):
        return self.held.take()

    def told(self, ready):
        """What else is to be kept of what it says when it is ready."""


class Kafka(Broker):
    """One combined KRaft node, from the jars the pom names, with the settings of a fresh installation but for a few."""

    name = "kafka"

    def __init__(self, settings=None, features=None):
        super().__init__(features)
        self.settings = settings or {}
        self.jars = prepare.jars()

    def start(self):
        properties = self.home / "server.properties"
        if self.port is None:
            self.port, controller = self.held.take(), self.held.take()
            properties.write_text(self.properties(controller))
            self.format(properties)
        # The heap is fixed and small: two of these may run beside each other on a small machine.
        self.launch(["java", "-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                     "-cp", f"{self.jars}/*", "kafka.Kafka", str(properties)])
        self.wait_until(lambda: accepts(self.address), f"connection on port {self.port}")
        return self

    def properties(self, controller_port):
        settings = {
            "process.roles": "broker,controller",
            "node.id": 0,
            "controller.quorum.voters": f"0@127.0.0.1:{controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self.data,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            **KEEP_ALL,
            **self.settings,
        }
        return "".join(f"{key}={value}\n" for key, value in settings.items())

    def format(self, properties):
        command = [*prepare.SHORT_LIVED_JVM, "-cp", f"{self.jars}/*", "kafka.tools.StorageTool",
                   "format", "-t", CLUSTER_ID, "-c", str(properties), *self.features]
        ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if ended.returncode != 0:
            raise prepare.CannotPrepare(f"formatting Kafka's folder failed: {ended.stdout[-2000:]}")


TARGETS = {"highwater": Highwater, "kafka": Kafka}


def complete_json(path):
    try:
        json.loads(path.read_text())
        return True
    except (FileNotFoundError, ValueError):
        return False


def accepts(address):
    try:
        socket.create_connection(address, 1).close()
        return True
    except OSError:
        return False
