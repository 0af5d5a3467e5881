"""Transactions for cases of the differential suite: one transactional id brought into a state, and what is asked of it then."""

import struct
import time
from concurrent.futures import ThreadPoolExecutor

from harness.report import equal, shorten
from wire.client import produce_body
from wire.connection import Closed
from wire.records import TRANSACTIONAL, Batch, batches

from .compare import UNKNOWN_ID, diff, normalise
from .groups import SETTLING
from .side import SHOWN

# Partitions that only these cases write to.
TOPIC, PARTITIONS = "diff-transactions", 2
OFFSETS_OF = "diff-plain"
COMMIT, ABORT = True, False
CONCURRENT_TRANSACTIONS, NO_PRODUCER = 51, -1
TRANSACTION_COORDINATOR = 1
LIMIT_S = 30
TIMEOUT_MS, SHORT_MS = 60_000, 20
# The newest version of the protocol before KIP-890, the one of its first part, and the one of its second.
OLD, VERIFIED, NEW = "old", "verified", "new"
VERSIONS = {"EndTxn": {OLD: 3, VERIFIED: 4, NEW: 5}, "Produce": {OLD: 10, VERIFIED: 11, NEW: 12}, "TxnOffsetCommit": {OLD: 3, VERIFIED: 4, NEW: 5}}
AT = {"InitProducerId": 5, "AddPartitionsToTxn": 3, "AddOffsetsToTxn": 4, "DescribeTransactions": 0, "DescribeProducers": 0, "ListTransactions": 2,
      "WriteTxnMarkers": 2, "ListOffsets": 7, "Fetch": 12, "OffsetFetch": 7, "FindCoordinator": 3}
# Counted from the end that the partition had when the case began.
OFFSETS = {"BaseOffset", "CurrentTxnStartOffset", "LastStableOffset", "HighWatermark", "Offset", "FirstOffset"}


class Scene:
    """A case told as a function of a transactional id nobody else uses."""

    def __init__(self, name, script):
        self.name, self.script = name, script

    def played(self, side):
        """(API, version, answer) of everything that is compared."""
        transaction = Transaction(side, self.name)
        try:
            self.script(transaction)
            return transaction.told()
        finally:
            transaction.close()


def prepare(side):
    """The topic, and a coordinator that has read its log."""
    side.create(TOPIC, PARTITIONS)
    first = Transaction(side, "prepare")
    # Who looks for a coordinator makes its topic.
    first.settled("FindCoordinator", {"Key": first.id, "KeyType": TRANSACTION_COORDINATOR}, AT["FindCoordinator"])
    first.await_group()
    first.begun()
    first.close()


def compare_scene(scene, subject, reference, differences):
    with ThreadPoolExecutor(2) as both:
        pairs = list(zip(*both.map(scene.played, (subject, reference)), strict=True))
    found = []
    for at, ((api, version, ours), (_, _, theirs)) in enumerate(pairs):
        for path, our_value, their_value in diff(ours, theirs):
            if not differences.allows(f"{api}/{scene.name}", path, version):
                found.append(f"step {at + 1}, {api} v{version}: {path} {shorten(our_value, 120)}, Kafka {shorten(their_value, 120)}")
    more = f" (and {len(found) - SHOWN} more)" if len(found) > SHOWN else ""
    assert not found, "; ".join(found[:SHOWN]) + more


class Transaction:
    def __init__(self, side, name):
        self.side, self.id, self.group = side, f"diff-{name}", f"diff-group-{name}"
        self.client = side.connect()
        self.producer, self.epoch, self.sequence = NO_PRODUCER, -1, [0] * PARTITIONS
        self.producers, self.noted, self.is_left = [], [], False
        self.ends = [self.client.end_offset(TOPIC, at) for at in range(PARTITIONS)]

    def close(self):
        """Leaves nothing open behind, which would hold back the readers of cases to come."""
        try:
            if not self.is_left and self.described()["TransactionState"] == "Ongoing":
                self.fence()
        finally:
            self.client.close()

    # ---- asking

    def ask(self, api, version, body):
        try:
            return self.client.call(api, version, body)
        except Closed:
            self.client.close()
            self.client = self.side.connect()
            return {"no answer": "connection closed"}

    def asked(self, api, body, version=None):
        """This answer is compared."""
        version = AT[api] if version is None else version
        answer = self.ask(api, version, body)
        self.noted.append((api, version, answer))
        return answer

    def until(self, done, what):
        deadline = time.monotonic() + LIMIT_S
        while not (found := done()):
            assert time.monotonic() < deadline, f"{self.id}: {what}"
            time.sleep(0.002)
        return found

    def settled(self, api, body, version):
        """Asked until nothing is under way any more."""
        return self.until(lambda: (answer := self.ask(api, version, body))["ErrorCode"] not in (*SETTLING, CONCURRENT_TRANSACTIONS) and answer, f"{api} still settles")

    def told(self):
        """The answers with producers by their number and offsets from where the case began, as both sides have others."""
        return [(api, version, normalise(self.renamed(answer), self.side)) for api, version, answer in self.noted]

    def renamed(self, value, name="", partition=0):
        if isinstance(value, dict):
            partition = next((value[each] for each in ("PartitionIndex", "Partition", "Index") if each in value), partition)
            return {key: self.renamed(each, key, partition) for key, each in value.items()}
        if isinstance(value, list):
            return [self.renamed(each, name, partition) for each in value]
        if name == "ProducerId" and value >= 0:
            return f"producer {self.producers.index(value)}" if value in self.producers else "another producer"
        if name == "Timestamp" and value > 0:
            return "a time"
        if name in OFFSETS and value >= 0 and partition < PARTITIONS:
            return value - self.ends[partition]
        return value

    # ---- requests; `who` replaces what the producer says of itself

    def who(self, **change):
        return {"TransactionalId": self.id, "ProducerId": self.producer, "ProducerEpoch": self.epoch, **change}

    def init(self, timeout_ms=TIMEOUT_MS, **who):
        return {"TransactionalId": self.id, "TransactionTimeoutMs": timeout_ms, "ProducerId": -1, "ProducerEpoch": -1, **who}

    def add(self, topics=((TOPIC, (0,)),), verify=False, **who):
        """At every version: one transaction's request, or the broker's with a list of one."""
        asking = self.who(**who)
        listed = [{"Name": name, "Partitions": list(parts)} for name, parts in topics]
        old = {f"V3AndBelow{name}": value for name, value in (asking | {"Topics": listed}).items()}
        return old | {"Transactions": [asking | {"VerifyOnly": verify, "Topics": listed}]}

    def add_offsets(self, **who):
        return self.who(**who) | {"GroupId": self.group}

    def end(self, committed, **who):
        return self.who(**who) | {"Committed": committed}

    def offsets(self, offset=7, topic=OFFSETS_OF, partition=0, member="", generation=-1, instance=None, group=None, metadata="", **who):
        part = {"PartitionIndex": partition, "CommittedOffset": offset, "CommittedMetadata": metadata}
        return self.who(**who) | {"GroupId": self.group if group is None else group, "MemberId": member, "GenerationId": generation,
                                  "GroupInstanceId": instance, "Topics": [{"Name": topic, "Partitions": [part]}]}

    def batch(self, partition=0, **who):
        asking = self.who(**who)
        return Batch([b"x", b"y"], producer_id=asking["ProducerId"], epoch=asking["ProducerEpoch"], sequence=self.sequence[partition],
                     attributes=TRANSACTIONAL)

    def data(self, *partitions, **who):
        entries = [(TOPIC, at, self.batch(at, **who)) for at in partitions or (0,)]
        return produce_body(entries, transactional_id=self.who(**who)["TransactionalId"])

    def markers(self, committed, version=0, coordinator=0, topics=((TOPIC, (0,)),), **who):
        asking = self.who(**who)
        marker = {"ProducerId": asking["ProducerId"], "ProducerEpoch": asking["ProducerEpoch"], "TransactionResult": committed,
                  "Topics": [{"Name": name, "PartitionIndexes": list(parts)} for name, parts in topics], "CoordinatorEpoch": coordinator,
                  "TransactionVersion": version}
        return {"Markers": [marker]}

    # ---- the way into a state

    def adopt(self, answer):
        if answer["ProducerId"] != self.producer:
            self.producers.append(answer["ProducerId"])
        self.producer, self.epoch, self.sequence = answer["ProducerId"], answer["ProducerEpoch"], [0] * PARTITIONS
        return answer

    def begun(self, timeout_ms=TIMEOUT_MS):
        answer = self.settled("InitProducerId", self.init(timeout_ms), AT["InitProducerId"])
        equal(answer["ErrorCode"], 0, "InitProducerId")
        return self.adopt(answer)

    def added(self, *partitions):
        answer = self.ask("AddPartitionsToTxn", 3, self.add(((TOPIC, partitions or (0,)),)))
        for part in answer["ResultsByTopicV3AndBelow"][0]["ResultsByPartition"]:
            equal(part["PartitionErrorCode"], 0, "AddPartitionsToTxn")

    def written(self, *partitions, protocol=VERIFIED):
        answer = self.ask("Produce", VERSIONS["Produce"][protocol], self.data(*partitions))
        for part in answer["Responses"][0]["PartitionResponses"]:
            equal(part["ErrorCode"], 0, "Produce")
            self.sequence[part["Index"]] += 2

    def ended(self, committed, protocol=VERIFIED):
        answer = self.ask("EndTxn", VERSIONS["EndTxn"][protocol], self.end(committed))
        equal(answer["ErrorCode"], 0, "EndTxn")
        if protocol == NEW:
            self.adopt(answer)
        self.await_state("CompleteCommit" if committed else "CompleteAbort")

    def fence(self):
        """Another instance begins; this one goes on with what it knows."""
        answer = self.settled("InitProducerId", self.init(), AT["InitProducerId"])
        equal(answer["ErrorCode"], 0, "InitProducerId of another instance")

    def another_producer(self):
        self.producers.append(self.client.producer_id())
        return self.producers[-1]

    def await_group(self):
        """Until its group has a coordinator that has read its log."""
        self.settled("FindCoordinator", {"Key": self.group}, AT["FindCoordinator"])
        self.settled("OffsetFetch", {"GroupId": self.group, "Topics": []}, AT["OffsetFetch"])

    # ---- what it has become

    def described(self):
        return self.ask("DescribeTransactions", 0, {"TransactionalIds": [self.id]})["TransactionStates"][0]

    def await_state(self, *states):
        self.until(lambda: self.described()["TransactionState"] in states, f"not in {states}")

    def shows(self):
        """State, producers and ends, once what was set in motion is done."""
        self.until(lambda: not self.described()["TransactionState"].startswith("Prepare"), "still completing")
        self.asked("DescribeTransactions", {"TransactionalIds": [self.id]})
        for at in range(2):
            self.producers_of(at)
            for isolation in (0, 1):
                self.asked("ListOffsets", self.latest(at, isolation))

    def producers_of(self, partition=0):
        """Those of this case."""
        answer = self.ask("DescribeProducers", 0, {"Topics": [{"Name": TOPIC, "PartitionIndexes": [partition]}]})
        for part in answer["Topics"][0]["Partitions"] if "Topics" in answer else ():
            part["ActiveProducers"] = [each for each in part["ActiveProducers"] if each["ProducerId"] in self.producers]
        self.noted.append(("DescribeProducers", 0, answer))

    @staticmethod
    def latest(partition, isolation, time_ms=-1):
        asked = [{"PartitionIndex": partition, "Timestamp": time_ms, "CurrentLeaderEpoch": -1}]
        return {"ReplicaId": -1, "IsolationLevel": isolation, "Topics": [{"Name": TOPIC, "Partitions": asked}]}

    def fetched(self, version, isolation, offset=0, partition=0):
        """The records as (offset, count, attributes) of each batch: the bytes have times and producers in them."""
        asked = {"Partition": partition, "FetchOffset": self.ends[partition] + offset, "PartitionMaxBytes": 1 << 20, "CurrentLeaderEpoch": -1}
        ids = {name: each for each, name in self.side.ids.items()}
        body = {"ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1 << 20, "IsolationLevel": isolation, "SessionEpoch": -1,
                "Topics": [{"Topic": TOPIC, "TopicId": ids.get(TOPIC, UNKNOWN_ID), "Partitions": [asked]}]}
        answer = self.ask("Fetch", version, body)
        for topic in answer.get("Responses", []):
            for part in topic["Partitions"]:
                part["Records"] = [self.outline(*each) for each in batches(part["Records"] or b"")]
        self.noted.append(("Fetch", version, answer))

    def outline(self, base, count, batch):
        attributes, producer = struct.unpack_from(">h", batch, 21)[0], struct.unpack_from(">q", batch, 43)[0]
        own = self.producers.index(producer) if producer in self.producers else producer
        return f"{count} at {base - self.ends[0]}, attributes {attributes:#x}, producer {own}, epoch {struct.unpack_from('>h', batch, 51)[0]}"
