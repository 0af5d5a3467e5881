"""A partition moves to Apache Kafka: records of every codec, idempotent producers, a log that begins later."""

import random
import time

from confluent_kafka import Producer

from harness.broker import Kafka
from harness.report import equal
from suites.raw.resends import OUT_OF_ORDER_SEQUENCE, WINDOW, numbered
from suites.tools.kafka_tools import Tools
from wire.records import Batch

from .side import CLEAN_MARKER, LIMIT_S, START_OFFSETS, connect, create, data_folder, give, read, reconnect, running, start_offset

TOPIC = "moved"
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
RECORDS_EACH = 2_500
# Old segments go at once, under either broker, with as few left as this says.
EAGER = {"log.retention.check.interval.ms": 50, "log.initial.task.delay.ms": 0, "log.flush.start.offset.checkpoint.interval.ms": 20}
KEPT_BYTES = 1_500_000


# A log of small syncs has zeros ahead of its end.
DURABLE = EAGER | {"highwater.durability": "leader"}


def tests(suite, target):
    def test(name, end, is_clean, settings):
        suite.test(f"moved-to-kafka-{name}", lambda: moved(target, end, is_clean, settings), limit_s=180)

    test("stopped", "stop", True, EAGER)
    test("killed", "kill", False, EAGER)
    if target is not Kafka:
        test("killed-durable", "kill", False, DURABLE)


def fill(broker, client):
    """Batches that retention takes, batches it leaves, and records deleted within a segment; gives each producer's batches."""
    create(client, TOPIC, segment_bytes=1_048_576, retention_bytes=KEPT_BYTES)
    # One whose records will be gone altogether, and one that goes on to the end.
    early, lasting = client.producer_id(), client.producer_id()
    sent = {early: [], lasting: []}

    def append(producer, sequence, count):
        batch = numbered(producer, sequence, count)
        sent[producer].append((batch, client.appended(TOPIC, batch)))

    for at in range(WINDOW + 1):
        append(early, 3 * at, 3)
    append(lasting, 0, 2)
    for codec in CODECS:
        send(broker, codec)
    wait_until(lambda: start_offset(client, TOPIC) > sent[lasting][0][1], "the old segments to go")
    for at in range(WINDOW + 1):
        append(lasting, 2 + 2 * at, 2)
    end = client.end_offset(TOPIC)
    below = (start_offset(client, TOPIC) + end) // 2
    asked = {"Topics": [{"Name": TOPIC, "Partitions": [{"PartitionIndex": 0, "Offset": below}]}], "TimeoutMs": 10_000}
    answer = client.call("DeleteRecords", 2, asked)["Topics"][0]["Partitions"][0]
    equal((answer["ErrorCode"], answer["LowWatermark"]), (0, below), "(error, low watermark) of a deletion")
    return sent


def send(broker, codec):
    producer = Producer({"bootstrap.servers": broker.bootstrap, "compression.type": codec, "enable.idempotence": True,
                         "linger.ms": 5, "batch.num.messages": 100, "log_level": 2})
    noise = random.Random(codec)
    for at in range(RECORDS_EACH):
        # A part of it compresses, and all of it can be printed.
        value = noise.randbytes(150).hex().encode() + b"%050d" % at
        while True:
            try:
                producer.produce(TOPIC, value, key=b"%d" % at, headers=[("codec", codec.encode())])
                break
            except BufferError:
                producer.poll(0.1)
    equal(producer.flush(LIMIT_S), 0, f"records left of {codec}")


def wait_until(done, what):
    deadline = time.monotonic() + LIMIT_S
    while not done():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def consumed(broker, count, offset):
    shown = ("print.offset=true", "print.timestamp=true", "print.key=true", "print.headers=true")
    flags = [word for setting in shown for word in ("--formatter-property", setting)]
    return Tools(broker).on_broker("consumer.ConsoleConsumer", "--topic", TOPIC, "--partition", 0, "--offset", offset,
                                   "--max-messages", count, "--timeout-ms", 20_000, *flags)


def moved(target, end, is_clean, settings):
    with running(target, settings) as source, running(Kafka) as kafka:
        with connect(source) as client:
            sent = fill(source, client)
            start, stop = start_offset(client, TOPIC), client.end_offset(TOPIC)
            before, shown = read(client, TOPIC), consumed(source, stop - start, start)
        equal(len(shown), stop - start, "lines of the console consumer")
        # Highwater has written it before it answered, Kafka does so in its time.
        written = data_folder(source, TOPIC) / START_OFFSETS
        wait_until(lambda: f"{TOPIC} 0 {start}\n" in written.read_text(), "the start of the log in its checkpoint")
        getattr(source, end)()
        if settings is DURABLE:
            last = max(source.partition_folder(TOPIC).glob("*.log"))
            assert last.read_bytes().endswith(bytes(512)), f"no room at the end of {last.name}: nothing to show"
        with connect(kafka) as client:
            create(client, TOPIC)
        kafka.stop()
        give(source, kafka, TOPIC)
        ours, theirs = data_folder(source, TOPIC), data_folder(kafka, TOPIC)
        (theirs / START_OFFSETS).write_bytes((ours / START_OFFSETS).read_bytes())
        if not is_clean:
            (theirs / CLEAN_MARKER).unlink()
        kafka.start()
        with reconnect(kafka, TOPIC) as client:
            equal((start_offset(client, TOPIC), client.end_offset(TOPIC)), (start, stop), "(start, end) of the log")
            equal(read(client, TOPIC), before, "batches")
            equal(consumed(kafka, stop - start, start), shown, "lines of Apache's consumer")
            check_producers(client, sent, is_clean)


def check_producers(client, sent, is_clean):
    early, lasting = sent
    # Kafka keeps one batch of a producer in a snapshot, and goes by snapshots also where it recovered. Recovering, it lets
    # go of those below the log's start, and so of who wrote nothing since.
    if is_clean:
        equal(client.appended(TOPIC, sent[early][-1][0]), sent[early][-1][1], "the last batch, known from a snapshot alone")
    last, offset = sent[lasting][-1]
    equal(client.appended(TOPIC, last), offset, "the last batch again")
    older = sent[lasting][-WINDOW - 1][0]
    equal(client.produce(TOPIC, older)["ErrorCode"], OUT_OF_ORDER_SEQUENCE, "a batch from before the window")
    equal(client.produce(TOPIC, numbered(lasting, 90))["ErrorCode"], OUT_OF_ORDER_SEQUENCE, "a gap")
    end = client.end_offset(TOPIC)
    equal(client.appended(TOPIC, numbered(lasting, 2 * (WINDOW + 2))), end, "the next batch")
    equal(client.appended(TOPIC, Batch()), end + 1, "a batch of nobody")
