"""Racks: replicas are spread over them, and Java and librdkafka read from a follower in theirs (KIP-392), from the leader while that is
dead, and from the follower again.
"""

import contextlib
import json
import subprocess
import tempfile
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from harness import prepare
from harness.nodes import RACKS
from harness.report import equal

from .tools import described, eventually, make

NEAR = 2
RECORDS = 100
# Without an answer from a node that is dead Apache Kafka's clients, and Kafka's nodes without its heartbeats, wait their time.
LIMIT_S = 90
PARTITIONS = 6


def tests(suite, tools):
    suite.test("racks-spread-replicas", lambda: spread(tools))
    suite.test("racks-reassignment-proposed", lambda: proposed(tools))
    for client in (JavaReader, LibrdkafkaReader):
        suite.test(f"racks-{client.name}-reads-near", lambda client=client: reads_near(tools, client), limit_s=4 * LIMIT_S)


def in_both(replicas):
    return len({RACKS[int(node)] for node in replicas.split(",")}) == 2


def spread(tools):
    topic = "nodes-racks-spread"
    tools.topics("--create", "--topic", topic, "--partitions", PARTITIONS, "--replication-factor", 2)
    found = [replicas for _, replicas, *_ in described(tools, "--topic", topic)]
    assert len(found) == PARTITIONS and all(map(in_both, found)), found
    tools.topics("--alter", "--topic", topic, "--partitions", 2 * PARTITIONS)
    found = [replicas for _, replicas, *_ in described(tools, "--topic", topic)]
    assert len(found) == 2 * PARTITIONS and all(map(in_both, found)), found


def proposed(tools):
    """The tool asks where the nodes are, and proposes by it."""
    topic = "nodes-racks-proposed"
    tools.topics("--create", "--topic", topic, "--partitions", PARTITIONS, "--replication-factor", 2)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as wish:
        json.dump({"version": 1, "topics": [{"topic": topic}]}, wish)
        wish.flush()
        said = tools.on_broker("reassign.ReassignPartitionsCommand", "--generate", "--topics-to-move-json-file", wish.name,
                               "--broker-list", "0,1,2")
    plan = json.loads(said[said.index("Proposed partition reassignment configuration") + 1])
    found = [",".join(map(str, each["replicas"])) for each in plan["partitions"]]
    assert len(found) == PARTITIONS and all(map(in_both, found)), found


def reads_near(tools, client):
    topic = f"nodes-racks-{client.name}"
    make(tools, topic, [0, 1, 2])
    all_there = [("0", "0,1,2", [0, 1, 2], [], [])]
    with contextlib.closing(client(tools.broker, topic, RACKS[NEAR])) as reader:
        append(tools, topic)
        reader.await_read(RECORDS, NEAR)
        tools.broker.kill_node(NEAR)
        try:
            append(tools, topic)
            reader.await_read(2 * RECORDS, client.leader)
        finally:
            tools.broker.start_node(NEAR)
        eventually(all_there, lambda: described(tools, "--topic", topic))
        append(tools, topic)
        reader.await_read(3 * RECORDS, NEAR)


def append(tools, topic):
    producer = Producer({"bootstrap.servers": tools.broker.bootstrap, "acks": "all", "log_level": 2})
    for at in range(RECORDS):
        producer.produce(topic, f"record {at}")
    equal(producer.flush(LIMIT_S), 0, "records that are not acknowledged")


class Reader:
    """What one of the clients has read, and from where it reads."""

    def __init__(self):
        self.found = None

    def await_read(self, *expected):
        deadline = time.monotonic() + LIMIT_S
        while self.found != expected:
            assert time.monotonic() < deadline, f"{self.found} and not {expected} after {LIMIT_S} s"
            time.sleep(0.05)


class JavaReader(Reader):
    name = "java"
    leader = -1

    def __init__(self, broker, topic, rack):
        super().__init__()
        command = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", prepare.java_suite(), "highwater.suite.NearReader"]
        self.process = subprocess.Popen([*command, broker.bootstrap, topic, rack], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.found = tuple(map(int, line.split()))

    def close(self):
        self.process.kill()
        self.process.wait()


class LibrdkafkaReader(Reader):
    name = "librdkafka"
    leader = 0

    def __init__(self, broker, topic, rack):
        super().__init__()
        self.topic, self.read, self.open = topic, 0, True
        settings = {"bootstrap.servers": broker.bootstrap, "group.id": topic, "enable.auto.commit": False, "client.rack": rack,
                    "statistics.interval.ms": 200, "stats_cb": self.told, "log_level": 2}
        self.consumer = Consumer(settings)
        self.consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        self.thread = threading.Thread(target=self.poll)
        self.thread.start()

    def poll(self):
        while self.open:
            message = self.consumer.poll(0.05)
            self.read += message is not None and message.error() is None

    def told(self, statistics):
        partition = json.loads(statistics)["topics"].get(self.topic, {}).get("partitions", {}).get("0")
        if partition:
            self.found = (self.read, partition["broker"])

    def close(self):
        self.open = False
        self.thread.join()
        self.consumer.close()
