"""A compacted partition moves: ours to Apache Kafka, Apache Kafka's to the broker. The same records, the same producer; and the
next pass goes on where the last one ended."""

import time

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from harness.broker import Kafka
from harness.report import equal
from suites.raw.resends import WINDOW, numbered
from suites.tools.kafka_tools import Tools
from wire.records import Batch

from .moved import CODECS, wait_until
from .side import CLEAN_MARKER, LIMIT_S, connect, create, data_folder, give, read, reconnect, running, start_offset

TOPIC = "compacted"
CLEANER_OFFSETS = "cleaner-offset-checkpoint"
EAGER = {"log.cleaner.backoff.ms": 100}
SETTINGS = {"cleanup_policy": "compact", "segment_ms": 500, "min_cleanable_dirty_ratio": 0.01}
OWN = b"own"
KEYS, RECORDS_EACH, TURN_MS = 40, 400, 1_000
ENDS = {"stopped": ("stop", True), "killed": ("kill", False)}


def tests(suite, target):
    for name, how in ENDS.items():
        suite.test(f"compacted-to-kafka-{name}", lambda how=how: moved(target, Kafka, *how), limit_s=180)
        suite.test(f"compacted-by-kafka-{name}", lambda how=how: moved(Kafka, target, *how), limit_s=180)


class Writer:
    """Turns of records of every key, each in a segment of its own; knows what is the newest of each."""

    def __init__(self, broker):
        self.broker, self.newest, self.turn, self.idempotent = broker, {}, 0, True
        self.began_ms = int(time.time() * 1000) - 1_000_000

    def write(self, codec):
        producer = Producer({"bootstrap.servers": self.broker.bootstrap, "compression.type": codec, "enable.idempotence": self.idempotent,
                             "linger.ms": 5, "batch.num.messages": 50, "log_level": 2})
        for at in range(RECORDS_EACH):
            key = b"key %d" % (at * 7 % KEYS)
            value = None if (at + self.turn) % 23 == 0 else b"turn %d, record %d" % (self.turn, at)
            producer.produce(TOPIC, value, key=key, timestamp=self.began_ms + self.turn * TURN_MS)
            self.newest[key] = value
        equal(producer.flush(LIMIT_S), 0, f"records left of {codec}")
        self.turn += 1


def consumed(broker):
    """What a consumer has of each key when it has read everything."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "nobody", "enable.auto.commit": False,
                         "enable.partition.eof": True, "log_level": 2})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    newest, deadline = {}, time.monotonic() + LIMIT_S
    while True:
        assert time.monotonic() < deadline, "the end of the log was not reached"
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            equal(message.error().code(), KafkaError._PARTITION_EOF, "error of a consumer")
            consumer.close()
            return newest
        newest[message.key()] = message.value()


def without_tombstones(newest):
    return {key: value for key, value in newest.items() if value is not None}


def cleaned(broker):
    """How far the broker says that it has come."""
    path = data_folder(broker, TOPIC) / CLEANER_OFFSETS
    lines = path.read_text().splitlines() if path.exists() else []
    return next((int(line.split()[2]) for line in lines if line.startswith(f"{TOPIC} 0 ")), 0)


def write_and_await(writer, client, turns):
    """Turns, and one more that is not compacted; waits until the others are."""
    for codec in turns:
        writer.write(codec)
    upto = client.end_offset(TOPIC)
    writer.write("none")
    wait_until(lambda: cleaned(writer.broker) >= upto, f"{TOPIC} to be compacted up to {upto}")
    return upto


def moved(source_kind, kind, end, is_clean):
    with running(source_kind, EAGER) as source, running(kind, EAGER) as other:
        with connect(source) as client:
            create(client, TOPIC, **SETTINGS)
            writer = Writer(source)
            # Of one key, so that little more than the heads stays of them. Of Kafka's only the last is kept.
            sent = [numbered(client.producer_id(), 0, 1, key=OWN, base_timestamp=writer.began_ms - 1)]
            if source_kind is not Kafka:
                sent += [numbered(sent[0].producer_id, at, 1, key=OWN, base_timestamp=writer.began_ms - 1) for at in range(1, WINDOW)]
            offsets = [client.appended(TOPIC, batch) for batch in sent]
            write_and_await(writer, client, CODECS)
            stop = client.end_offset(TOPIC)
            before = read(client, TOPIC)
            assert sum(count for _, count, _ in before) < stop / 2, "hardly anything went"
            equal(without_tombstones(consumed(source)), expected(writer, sent), "newest of each key")
            for batch, offset in zip(sent, offsets, strict=True):
                equal(client.appended(TOPIC, batch), offset, "a batch of the window again")
        getattr(source, end)()
        check_indexes(source)
        with connect(other) as client:
            create(client, TOPIC, **SETTINGS)
            client.appended(TOPIC, Batch(key=OWN))
        other.stop()
        give(source, other, TOPIC)
        ours, theirs = data_folder(source, TOPIC), data_folder(other, TOPIC)
        (theirs / CLEANER_OFFSETS).write_bytes((ours / CLEANER_OFFSETS).read_bytes())
        if not is_clean:
            (theirs / CLEAN_MARKER).unlink()
        other.start()
        with reconnect(other, TOPIC) as client:
            equal((start_offset(client, TOPIC), client.end_offset(TOPIC)), (0, stop), "(start, end) of the log")
            equal(read(client, TOPIC), before, "batches")
            equal(client.appended(TOPIC, sent[-1]), offsets[-1], "the producer's last batch again")
            # Ids that the other broker gives are known here as another's.
            writer.broker, writer.idempotent = other, False
            write_and_await(writer, client, CODECS[:2])
            equal(without_tombstones(consumed(other)), expected(writer, sent), "newest of each key, later")


def expected(writer, sent):
    return without_tombstones(writer.newest) | {OWN: sent[-1].values[-1]}


class LeftBare:
    """What the tool says where an index names a batch of which the head alone is left: it finds no time there, whoever compacted."""

    def __contains__(self, line):
        return line.startswith("Found timestamp mismatch in :") or line.endswith(", log timestamp: -1")


def check_indexes(broker):
    """Apache's tool finds every index right, by the batches that are there."""
    tools, folder = Tools(broker), broker.partition_folder(TOPIC)
    files = sorted(path for suffix in ("index", "timeindex") for path in folder.glob(f"*.{suffix}"))
    said = tools.run("DumpLogSegments", "--files", ",".join(map(str, files)), "--verify-index-only", notices=LeftBare())
    wrong = [line for line in said if not line.startswith("Dumping ") and not line.endswith(" is empty.")]
    equal(wrong, [], "what DumpLogSegments says of the indexes")
