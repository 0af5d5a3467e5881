"""What most raw tests need of a broker, said in one line each: topics, appends, reads, ends of logs."""

import itertools
import time

from .connection import Connection
from .records import Batch, batches

PRODUCE, FETCH, LIST_OFFSETS, METADATA, CREATE_TOPICS, INIT_PRODUCER_ID = 12, 12, 6, 9, 7, 4
TOPIC_LIMIT_S = 30
COORDINATOR_LOAD_IN_PROGRESS = 14
LATEST, EARLIEST = -1, -2
NAMES = itertools.count()


class Client(Connection):
    def create_topic(self, about, partitions=1, **settings):
        name = f"raw-{about}-{next(NAMES)}"
        configs = [{"Name": key.replace("_", "."), "Value": value} for key, value in settings.items()]
        topic = {"Name": name, "NumPartitions": partitions, "ReplicationFactor": 1, "Configs": configs}
        answer = self.call("CreateTopics", CREATE_TOPICS, {"Topics": [topic], "timeoutMs": 30_000})
        assert answer["Topics"][0]["ErrorCode"] == 0, f"creating {name}: {answer}"
        self.await_topic(name)
        return name

    def await_topic(self, name):
        """Until every partition is led and answers: the broker learns of a topic after its creator does."""
        deadline = time.monotonic() + TOPIC_LIMIT_S
        while time.monotonic() < deadline:
            topic = self.call("Metadata", METADATA, {"Topics": [{"Name": name}], "AllowAutoTopicCreation": False})["Topics"][0]
            if topic["ErrorCode"] == 0 and self.led(name, len(topic["Partitions"])):
                return
            time.sleep(0.02)
        raise AssertionError(f"{name} is not led after {TOPIC_LIMIT_S} s: {topic}")

    def led(self, name, partitions):
        asked = [{"PartitionIndex": each, "Timestamp": EARLIEST} for each in range(partitions)]
        answer = self.call("ListOffsets", LIST_OFFSETS, {"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": asked}]})
        return all(each["ErrorCode"] == 0 for each in answer["Topics"][0]["Partitions"])

    def topic_id(self, name):
        return self.call("Metadata", 10, {"Topics": [{"Name": name}], "AllowAutoTopicCreation": False})["Topics"][0]["TopicId"]

    def producer_id(self):
        deadline = time.monotonic() + TOPIC_LIMIT_S
        while True:
            answer = self.call("InitProducerId", INIT_PRODUCER_ID, {"TransactionalId": None, "TransactionTimeoutMs": 60_000})
            # A Kafka that has just started has no ids to give yet.
            if answer["ErrorCode"] != COORDINATOR_LOAD_IN_PROGRESS or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        assert answer["ErrorCode"] == 0, f"InitProducerId: {answer}"
        assert answer["ProducerEpoch"] == 0, f"a new producer's epoch is 0: {answer}"
        return answer["ProducerId"]

    def produce(self, topic, records, acks=-1, partition=0):
        """The partition's answer to a produce of a batch, or of raw bytes."""
        answer = self.call("Produce", PRODUCE, produce_body([(topic, partition, records)], acks))
        return answer["Responses"][0]["PartitionResponses"][0]

    def appended(self, topic, records, acks=-1, partition=0):
        """As `produce`, which must succeed; gives the base offset."""
        answer = self.produce(topic, records, acks, partition)
        assert answer["ErrorCode"] == 0, f"an append was refused: {answer}"
        return answer["BaseOffset"]

    def fetch(self, topic, offset, partition=0, max_wait_ms=0, min_bytes=1, max_bytes=1 << 20, partition_max_bytes=1 << 20):
        answer = self.call("Fetch", FETCH, fetch_body(topic, offset, partition, max_wait_ms, min_bytes, max_bytes, partition_max_bytes))
        return answer["Responses"][0]["Partitions"][0]

    def log(self, topic, partition=0):
        """All batches of a small partition, as (base offset, count, bytes)."""
        end, found = self.end_offset(topic, partition), []
        while True:
            at = found[-1][0] + found[-1][1] if found else 0
            if at >= end:
                return found
            more = batches(self.fetch(topic, at, partition)["Records"] or b"")
            assert more, f"nothing to read at {at} although the log ends at {end}"
            found += more

    def end_offset(self, topic, partition=0, timestamp=LATEST):
        asked = {"ReplicaId": -1, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": partition, "Timestamp": timestamp}]}]}
        answer = self.call("ListOffsets", LIST_OFFSETS, asked)["Topics"][0]["Partitions"][0]
        assert answer["ErrorCode"] == 0, f"ListOffsets: {answer}"
        return answer["Offset"]


def produce_body(entries, acks=-1, transactional_id=None, ids=None):
    """`entries` are (topic, partition, Batch or bytes or None); entries of one topic become one topic of the request."""
    topics = {}
    for topic, partition, records in entries:
        content = records.encode() if isinstance(records, Batch) else records
        topics.setdefault(topic, []).append({"Index": partition, "Records": content})
    data = [{"Name": topic, "TopicId": (ids or {}).get(topic, bytes(16)), "PartitionData": parts} for topic, parts in topics.items()]
    return {"TransactionalId": transactional_id, "Acks": acks, "TimeoutMs": 30_000, "TopicData": data}


def fetch_body(topic, offset, partition=0, max_wait_ms=0, min_bytes=1, max_bytes=1 << 20, partition_max_bytes=1 << 20):
    asked = {"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": partition_max_bytes}
    return {"MaxWaitMs": max_wait_ms, "MinBytes": min_bytes, "MaxBytes": max_bytes, "SessionEpoch": -1,
            "Topics": [{"Topic": topic, "Partitions": [asked]}]}
