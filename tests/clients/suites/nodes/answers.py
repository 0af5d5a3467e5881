"""The same questions to three of our nodes and to three of Apache Kafka's, while all are there, while one is not, and when it is back:
answers must agree, code by code and field by field.

Node 1 dies: of `a` it is a follower, `b` it leads, `c` it alone holds.
"""

import time

from harness import prepare
from harness.report import shorten
from wire.client import Client, produce_body
from wire.records import Batch
from wire.specs import Specs

from ..differential.compare import diff, normalise

TOPICS = {"a": [0, 1, 2], "b": [1, 0], "c": [1]}
GONE = 1
LIMIT_S = 40
METADATA = 12
SHOWN = 8
RECORDS = 2
# It may ask any replica.
DEBUGGER = -2
BROKER = 4
SETTINGS = ("broker.rack", "node.id", "replica.selector.class", "max.connections")
# Epochs count what happened to a node and its partitions, which is not the same on both sides. Kafka names any node as the controller.
OWN = {"LeaderEpoch", "ControllerId"}
# Kafka sets it when it formats its folder (differences.toml).
OWN_PLACE = "Configs[min.insync.replicas].ConfigSource"


def tests(suite, ours, theirs):
    sides = [Side(ours), Side(theirs)]
    suite.test("answers-while-all-are-there", lambda: compare(sides, all_there()))
    suite.test("answers-while-one-is-gone", lambda: one_gone(sides))
    suite.test("answers-when-it-is-back", lambda: back(sides))


class Side:
    def __init__(self, broker):
        self.broker, self.ids = broker, {}
        self.specs = Specs(prepare.client_jar())
        for name, replicas in TOPICS.items():
            assignment = {"PartitionIndex": 0, "BrokerIds": replicas}
            topic = {"Name": name, "NumPartitions": -1, "ReplicationFactor": -1, "Assignments": [assignment]}
            made = self.ask(0, "CreateTopics", 5, {"Topics": [topic], "timeoutMs": 30_000})
            assert made["Topics"][0]["ErrorCode"] == 0, made
        self.await_in_sync(TOPICS)
        for name, partition in self.told(0).items():
            self.ids[partition["id"]] = name
            self.eventually(f"{name} takes a record", lambda name=name, at=partition["LeaderId"]: self.append(at, name) == 0)
        # A follower is told how far it may let readers with its next fetch.
        for name, replicas in TOPICS.items():
            for node in replicas:
                self.eventually(f"{name} can be read at {node}", lambda name=name, node=node: self.high_watermark(node, name) == RECORDS)

    def append(self, node, name):
        body = produce_body([(name, 0, Batch([b"record"] * RECORDS, base_timestamp=1_700_000_000_000))])
        return self.ask(node, "Produce", 9, body)["Responses"][0]["PartitionResponses"][0]["ErrorCode"]

    def high_watermark(self, node, name):
        return self.ask(node, "Fetch", 11, fetch(self, name, -1))["Responses"][0]["Partitions"][0]["HighWatermark"]

    def ask(self, node, api, version, body=None):
        host, port = self.broker.bootstrap.split(",")[node].rsplit(":", 1)
        with Client(self.specs, (host, int(port))) as client:
            return client.call(api, version, body)

    def told(self, node):
        asked = [{"Name": name, "TopicId": bytes(16)} for name in TOPICS]
        topics = self.ask(node, "Metadata", METADATA, {"Topics": asked, "AllowAutoTopicCreation": False})["Topics"]
        return {topic["Name"]: {**topic["Partitions"][0], "id": topic["TopicId"]} for topic in topics if topic["Partitions"]}

    def await_in_sync(self, expected):
        def holds():
            living = [node for node in range(3) if node != GONE or expected is TOPICS]
            return all({name: sorted(at["IsrNodes"]) for name, at in self.told(node).items()} ==
                       {name: sorted(nodes) for name, nodes in expected.items()} for node in living)

        self.eventually(f"in sync as {expected}", holds)

    def is_whole(self):
        told = self.told(GONE).values()
        in_sync = [at["LeaderId"] >= 0 and sorted(at["IsrNodes"]) == sorted(at["ReplicaNodes"]) for at in told]
        return len(in_sync) == len(TOPICS) and all(in_sync)

    @staticmethod
    def eventually(what, holds):
        deadline = time.monotonic() + LIMIT_S
        while not holds():
            assert time.monotonic() < deadline, f"not within {LIMIT_S} s: {what}"
            time.sleep(0.1)


def compare(sides, questions):
    found = []
    for node, api, versions, body in questions:
        for version in versions:
            asked = [body(side) if callable(body) else body for side in sides]
            ours, theirs = (normalise(side.ask(node, api, version, each), side) for side, each in zip(sides, asked, strict=True))
            for path, our_value, their_value in diff(ours, theirs):
                if path.split(".")[-1] not in OWN and not path.endswith(OWN_PLACE):
                    found.append(f"{api} v{version} of {node}: {path} {shorten(our_value, 160)}, Kafka {shorten(their_value, 160)}")
    assert not found, "; ".join(found[:SHOWN]) + (f" (and {len(found) - SHOWN} more)" if len(found) > SHOWN else "")


def everything(node, elects=True):
    """What both say of the topics, and to who asks the wrong node or of a past."""
    names = [{"Name": name, "TopicId": bytes(16)} for name in TOPICS]
    yield node, "Metadata", (0, 1, 4, 5, 7, 8, 9, 12, 13), {"Topics": names, "AllowAutoTopicCreation": False}
    yield node, "DescribeTopicPartitions", (0,), {"Topics": [{"Name": name} for name in TOPICS], "ResponsePartitionLimit": 100, "Cursor": None}
    for fenced in (False, True):
        yield node, "DescribeCluster", (0, 1, 2), {"EndpointType": 1, "IncludeFencedBrokers": fenced}
    for name in TOPICS:
        yield node, "ListOffsets", (1, 4, 5, 7), list_offsets(name, -1)
        yield node, "ListOffsets", (7,), list_offsets(name, -2)
        for timestamp in (-1, -2, 0):
            yield node, "ListOffsets", (5, 7), list_offsets(name, timestamp, DEBUGGER)
        for epoch in (-1, 99):
            part = {"Partition": 0, "CurrentLeaderEpoch": epoch, "LeaderEpoch": 0}
            yield node, "OffsetForLeaderEpoch", (2, 4), {"ReplicaId": -2, "Topics": [{"Topic": name, "Partitions": [part]}]}
            yield node, "Fetch", (11, 12, 15, 16, 17), lambda side, name=name, epoch=epoch: fetch(side, name, epoch)
        for rack, offset in (("x", 0), ("y", 0), ("y", RECORDS), ("y", RECORDS + 1), ("z", 0)):
            yield node, "Fetch", (11, 12, 15, 17), lambda side, name=name, near=(rack, offset): fetch(side, name, -1, *near)
    yield node, "ListPartitionReassignments", (0,), {"TimeoutMs": 30_000, "Topics": None}
    if elects:
        # Nobody is there who could be.
        yield node, "ElectLeaders", (1, 2), election(1, *TOPICS, "none", "a b")


def settings():
    """Each broker tells its own settings, and takes changes for all."""
    for node, broker in ((0, "0"), (2, "0"), (2, "7"), (2, "x"), (2, "")):
        asked = {"ResourceType": BROKER, "ResourceName": broker, "ConfigurationKeys": SETTINGS}
        yield node, "DescribeConfigs", (1, 4), {"Resources": [asked], "IncludeSynonyms": True}
        for name in ("max.connections", "broker.rack"):
            change = {"Name": name, "ConfigOperation": 0, "Value": "1000"}
            altered = {"ResourceType": BROKER, "ResourceName": broker, "Configs": [change]}
            yield node, "IncrementalAlterConfigs", (0, 1), {"Resources": [altered], "ValidateOnly": True}


def creations(node):
    """What could be made, and what could not, and why; nothing is."""
    def asked(partitions, replicas, *assignments):
        placed = [{"PartitionIndex": index, "BrokerIds": brokers} for index, brokers in assignments]
        topic = {"Name": "new", "NumPartitions": partitions, "ReplicationFactor": replicas, "Assignments": placed}
        return {"Topics": [topic], "timeoutMs": 30_000, "validateOnly": True}

    for body in (asked(2, -1), asked(3, 2), asked(1, 4), asked(1, 0), asked(-1, 32_767), asked(-1, -1, (0, [0, 1]), (1, [2, 0])),
                 asked(-1, -1, (0, [0, 1]), (1, [2])), asked(-1, -1, (0, [0, 0])), asked(-1, -1, (0, [0, 9])), asked(-1, -1, (0, [])),
                 asked(-1, -1, (0, [0]), (2, [1])), asked(-1, -1, (0, [-1])), asked(1, 1, (0, [1]))):
        yield node, "CreateTopics", (5, 7), body
    for count, *assignments in ((2,), (1,), (2, [0, 1, 2]), (2, [0, 1]), (2, [0, 0, 1]), (2, [0, 1, 9]), (3, [0, 1, 2]), (3, [0, 1, 2], [1, 2])):
        placed = [{"BrokerIds": brokers} for brokers in assignments] or None
        topic = {"Name": "a", "Count": count, "Assignments": placed}
        yield node, "CreatePartitions", (3,), {"Topics": [topic], "TimeoutMs": 30_000, "ValidateOnly": True}


def election(kind, *names):
    asked = [{"Topic": name, "Partitions": [0, 5]} for name in names]
    return {"ElectionType": kind, "TopicPartitions": asked, "TimeoutMs": 30_000}


def past(name, ask):
    """Asked in the epoch before the present one."""
    return lambda side: ask(side, name, side.told(2)[name]["LeaderEpoch"] - 1)


def list_offsets(name, timestamp, replica=-1, epoch=-1):
    part = {"PartitionIndex": 0, "CurrentLeaderEpoch": epoch, "Timestamp": timestamp}
    return {"ReplicaId": replica, "Topics": [{"Name": name, "Partitions": [part]}]}


def fetch(side, name, epoch, rack="", offset=0):
    topic_id = next(each for each, named in side.ids.items() if named == name)
    part = {"Partition": 0, "CurrentLeaderEpoch": epoch, "FetchOffset": offset, "LastFetchedEpoch": -1, "LogStartOffset": -1, "PartitionMaxBytes": 1 << 20}
    return {"MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1 << 20, "SessionEpoch": -1, "RackId": rack,
            "Topics": [{"Topic": name, "TopicId": topic_id, "Partitions": [part]}]}


def written(node, names):
    """Told who leads, or that too few are in sync: what is refused leaves nothing behind."""
    batch = Batch([b"x"], base_timestamp=1_700_000_000_000)
    for name in names:
        yield node, "Produce", (9, 10, 12), produce_body([(name, 0, batch)])


def deleted(node, names):
    for name in names:
        topic = {"Name": name, "Partitions": [{"PartitionIndex": 0, "Offset": 0}]}
        yield node, "DeleteRecords", (1, 2), {"Topics": [topic], "TimeoutMs": 30_000}


def of_the_past(node, names):
    for name in names:
        yield node, "Fetch", (11, 12, 16, 17), past(name, fetch)
        yield node, "ListOffsets", (7,), past(name, lambda _, name, epoch: list_offsets(name, -1, epoch=epoch))
        yield node, "ListOffsets", (7,), past(name, lambda _, name, epoch: list_offsets(name, -1, DEBUGGER, epoch))


def moves(node, topic, *wanted):
    for replicas in wanted:
        part = {"PartitionIndex": 0, "Replicas": replicas}
        for allowed in (True, False):
            yield node, "AlterPartitionReassignments", (1,), {"TimeoutMs": 30_000, "AllowReplicationFactorChange": allowed,
                                                              "Topics": [{"Name": topic, "Partitions": [part]}]}


def all_there():
    yield from everything(2)
    yield from everything(0)
    yield from settings()
    yield from creations(2)
    # None of these comes about.
    yield from written(2, ["a", "b", "c"])
    yield from deleted(2, ["a", "b", "none"])
    yield from moves(2, "a", None, [], [0, 0], [0, 9], [-1], [0, 1, 2])
    yield from moves(2, "none", None, [0])
    yield 2, "ElectLeaders", (0, 1, 2), election(0, *TOPICS, "none")


def one_gone(sides):
    for side in sides:
        side.broker.kill_node(GONE)
        side.await_in_sync({"a": [0, 2], "b": [0], "c": []})
    compare(sides, while_gone())


def while_gone():
    yield from everything(2)
    yield from everything(0)
    yield from written(2, ["a", "b", "c"])
    yield from written(0, ["b", "c"])
    yield from of_the_past(0, ["b"])
    yield 2, "ElectLeaders", (0, 1, 2), election(0, *TOPICS)
    # It waits for who is gone, and is taken back.
    yield from moves(0, "a", [0, 1])
    yield from moves(0, "c", [0, 2])
    yield 2, "ListPartitionReassignments", (0,), {"TimeoutMs": 30_000, "Topics": None}
    yield from everything(2, elects=False)
    yield from moves(2, "c", None)
    yield 2, "ListPartitionReassignments", (0,), {"TimeoutMs": 30_000, "Topics": None}


def back(sides):
    for side in sides:
        side.broker.start_node(GONE)
        side.eventually("everybody in sync", side.is_whole)
    compare(sides, when_back())


def when_back():
    yield from everything(1)
    yield from everything(2)
    for node in (0, 1, 2):
        yield from of_the_past(node, ["b", "c"])
    for _ in ("elected", "elected already"):
        yield 2, "ElectLeaders", (2,), election(0, *TOPICS)
