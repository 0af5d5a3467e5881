"""One of the two brokers: its connection, the topics both have alike, and its answers in a form that can be compared."""

import time

from harness import prepare
from harness.report import equal, shorten
from wire.client import Client
from wire.codec import Malformed
from wire.connection import Closed
from wire.records import Batch
from wire.specs import Specs

from .compare import diff, normalise

# Made on both sides before the first case, with these records in them.
PLAIN, WIDE, EMPTY, SMALL, APPEND_TIME, TWICE, DELETED, COMPACTED = (
    "diff-plain", "diff-wide", "diff-empty", "diff-small", "diff-append-time", "diff-twice", "diff-deleted", "diff-compacted")
RECORD_TIME_MS = 1_700_000_000_000
PLAIN_BATCHES, PLAIN_EACH = 6, 3
# The first records of DELETED are gone, up to one within a batch.
DELETED_RECORDS, DELETED_TO = 9, 4
SHOWN = 6
ANSWER_LIMIT_S = 15


class Side:
    def __init__(self, broker):
        self.broker = broker
        self.specs = Specs(prepare.client_jar())
        self.client = self.connect()
        self.served = {each["ApiKey"]: (each["MinVersion"], each["MaxVersion"]) for each in self.client.call("ApiVersions", 0)["ApiKeys"]}
        self.ids = {}
        self.fixtures()

    def connect(self):
        client = Client(self.specs, self.broker.address, "differential")
        client.socket.settimeout(ANSWER_LIMIT_S)
        return client

    def fixtures(self):
        for name, partitions, settings in ((PLAIN, 1, {}), (WIDE, 3, {}), (EMPTY, 1, {}), (SMALL, 1, {"max.message.bytes": "500"}),
                                           (APPEND_TIME, 1, {"message.timestamp.type": "LogAppendTime"}), (TWICE, 2, {}), (DELETED, 2, {}),
                                           (COMPACTED, 1, {"cleanup.policy": "compact"})):
            self.create(name, partitions, settings)
        # A Kafka that has just started has no producer ids to give; from here on it has.
        self.client.producer_id()
        for at in range(PLAIN_BATCHES):
            values = [b"record %d" % (at * PLAIN_EACH + i) for i in range(PLAIN_EACH)]
            self.client.appended(PLAIN, Batch(values, base_timestamp=RECORD_TIME_MS + 1000 * at, time_deltas=[0, 20, 10]))
        for partition in range(3):
            self.client.appended(WIDE, Batch([b"wide"] * (partition + 1), base_timestamp=RECORD_TIME_MS), partition=partition)

        for _ in range(0, DELETED_RECORDS, PLAIN_EACH):
            self.client.appended(DELETED, self.batch())
        part = {"PartitionIndex": 0, "Offset": DELETED_TO}
        answer = self.client.call("DeleteRecords", 2, {"TimeoutMs": 10_000, "Topics": [{"Name": DELETED, "Partitions": [part]}]})
        equal(answer["Topics"][0]["Partitions"][0], {"PartitionIndex": 0, "LowWatermark": DELETED_TO, "ErrorCode": 0}, "DeleteRecords")

    @staticmethod
    def batch():
        return Batch([b"record"] * PLAIN_EACH, base_timestamp=RECORD_TIME_MS)

    def create(self, name, partitions=1, settings=None):
        configs = [{"Name": key, "Value": value} for key, value in (settings or {}).items()]
        topic = {"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1, "Configs": configs}
        answer = self.client.call("CreateTopics", 5, {"Topics": [topic], "timeoutMs": 30_000})
        assert answer["Topics"][0]["ErrorCode"] == 0, f"creating {name}: {answer}"
        self.client.await_topic(name)
        self.learn(name)

    def set_features(self, levels):
        downgrade = 2
        updates = [{"Feature": name, "MaxVersionLevel": level, "UpgradeType": downgrade} for name, level in levels.items()]
        answer = self.client.call("UpdateFeatures", 1, {"timeoutMs": 30_000, "FeatureUpdates": updates})
        equal(answer["ErrorCode"], 0, "UpdateFeatures")

        def known(side):
            finalized = side.client.call("ApiVersions", 3, {"ClientSoftwareName": "suite", "ClientSoftwareVersion": "1"})["FinalizedFeatures"]
            return levels.items() <= {each["Name"]: each["MaxVersionLevel"] for each in finalized}.items()

        until(self, known)

    def learn(self, name):
        """Remembers the topic's id, so that answers can show its name instead."""
        self.ids[self.client.topic_id(name)] = name

    def id(self, name):
        # The newest: a topic made again has another.
        return [each for each, named in self.ids.items() if named == name][-1]

    def versions(self, api):
        return self.served.get(self.specs.request(api).api_key)

    def play(self, case, version):
        """The answers to the case's requests, normalised; where there is none, the reason in its place."""
        # A connection of its own: what a case leaves behind on one must not reach the next case.
        self.client = self.connect()
        try:
            answers = case.answers(self, version)
        finally:
            self.client.close()
        return [normalise(each, self) for each in answers]

    def answer(self, api, version, body):
        try:
            return self.client.call(api, version, body)
        except Closed:
            reason = "connection closed"
        except Malformed as error:
            reason = f"malformed answer: {error}"
        except TimeoutError:
            reason = "no answer"
        except (AssertionError, ConnectionError) as error:
            reason = str(error)
        self.client.close()
        self.client = self.connect()
        return {"no answer": reason}


def compare_case(case, subject, reference, differences):
    served, expected = subject.versions(case.api), reference.versions(case.api)
    assert served, f"{case.api} is not among the APIs served"
    spec = subject.specs.request(case.api).versions
    low = max(served[0], expected[0], spec.low, case.lowest)
    high = min(served[1], expected[1], spec.high, case.highest)
    assert low <= high, f"versions served: {served}, by Kafka: {expected}, the case is for {case.lowest} to {case.highest}"
    found = {}
    for version in range(low, high + 1):
        pairs = list(zip(subject.play(case, version), reference.play(case, version), strict=True))
        for at, (ours, theirs) in enumerate(pairs):
            for path, our_value, their_value in diff(ours, theirs):
                if differences.allows(case.name, path, version):
                    continue
                step = f"step {at + 1} " if len(pairs) > 1 else ""
                found.setdefault(f"{step}{path} {shorten(our_value, 120)}, Kafka {shorten(their_value, 120)}", []).append(version)
    shown = [f"v{spans(versions)}: {text}" for text, versions in list(found.items())[:SHOWN]]
    more = f" (and {len(found) - SHOWN} more)" if len(found) > SHOWN else ""
    assert not found, "; ".join(shown) + more


def spans(versions):
    return f"{versions[0]}" if len(versions) == 1 else f"{versions[0]}-{versions[-1]}"


def until(side, done, limit_s=30):
    """Repeats `done(side)` until it holds: for what a request sets in motion."""
    deadline = time.monotonic() + limit_s
    while not done(side):
        assert time.monotonic() < deadline, "what was set in motion did not come about"
        time.sleep(0.02)
