"""Producers of one record a batch, which a row is played to: librdkafka's, and Apache's Java client in a process of its own."""

import queue
import subprocess
import threading

from confluent_kafka import Producer

from harness import prepare

from . import table

LIMIT_S = 90


class Librdkafka:
    name = "librdkafka"

    def __init__(self, bootstrap, topic, way):
        acks, idempotence, retries = way
        settings = {} if retries else {"message.send.max.retries": 0}
        self.topic, self.acks, self.told = topic, acks, {}
        self.producer = Producer({"bootstrap.servers": bootstrap, "acks": acks, "enable.idempotence": idempotence, "linger.ms": 0,
                                  "batch.num.messages": 1, "retry.backoff.ms": 10, "reconnect.backoff.ms": 10, "log_level": 2,
                                  "reconnect.backoff.max.ms": 100, "message.timeout.ms": LIMIT_S * 1000, **settings})

    def send(self, value):
        def note(error, _):
            self.told[value] = table.told(self.acks, not error)

        self.producer.produce(self.topic, value=value.encode(), on_delivery=note)
        self.producer.poll(0)

    def settle(self):
        left = self.producer.flush(LIMIT_S)
        assert left == 0, f"{left} records without an answer after {LIMIT_S} s"

    def close(self):
        self.producer.purge()


class Java:
    name = "java"

    def __init__(self, bootstrap, topic, way):
        acks, idempotence, retries = way
        words = [str(acks), str(idempotence).lower(), str(retries).lower()]
        command = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", prepare.java_suite(), "highwater.suite.Rows",
                   bootstrap, topic, *words]
        self.acks, self.told, self.waiting, self.lines = acks, {}, set(), queue.Queue()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1)
        threading.Thread(target=self.read, daemon=True).start()
        assert self.line() == ["ready"]

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.split())
        self.lines.put(["ended"])

    def line(self):
        try:
            return self.lines.get(timeout=LIMIT_S)
        except queue.Empty:
            raise AssertionError(f"no word of the Java producer within {LIMIT_S} s") from None

    def send(self, value):
        self.waiting.add(value)
        self.process.stdin.write(f"{value}\n")

    def settle(self):
        while self.waiting:
            verdict, *rest = self.line()
            assert verdict in ("acknowledged", "failed"), f"the Java producer {verdict}"
            self.waiting.remove(rest[0])
            self.told[rest[0]] = table.told(self.acks, verdict == "acknowledged")

    def close(self):
        self.process.kill()
        self.process.wait()
