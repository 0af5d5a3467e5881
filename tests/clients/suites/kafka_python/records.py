"""What is produced is read back, with each codec; positions, times and limits of reading."""

import threading

from kafka import KafkaConsumer, TopicPartition, errors

from harness.report import equal
from suites.samples import CODECS, START_MS, check_same, mixed

from .cluster import LIMIT_S


def tests(suite, cluster):
    for codec in CODECS:
        suite.test(f"produce-compression-{codec or 'none'}", lambda codec=codec: round_trip(cluster, compression_type=codec))
    suite.test("produce-idempotent-small-batches", lambda: round_trip(cluster, enable_idempotence=True, batch_size=500))
    suite.test("produce-acks-1", lambda: round_trip(cluster, enable_idempotence=False, acks=1))
    suite.test("produce-too-large-is-refused", lambda: too_large(cluster))
    suite.test("consume-positions", lambda: positions(cluster))
    suite.test("consume-past-the-end", lambda: past_the_end(cluster))
    suite.test("consume-waits-for-an-append", lambda: waits(cluster))
    suite.test("offsets-by-time-and-at-the-ends", lambda: offsets(cluster))


def round_trip(cluster, **settings):
    topic, sent = cluster.topic("codec"), mixed(500)
    told = cluster.send(topic, sent, **settings)
    equal([each.offset for each in told], list(range(500)), "offsets told")
    check_same(cluster.read(topic, 500), sent)


def too_large(cluster):
    topic = cluster.topic("large")
    try:
        cluster.send(topic, [(None, bytes(2 << 20), [], None)], max_request_size=4 << 20)
        raise AssertionError("2 MiB in a record were taken")
    except errors.MessageSizeTooLargeError:
        pass


def positions(cluster):
    topic, sent = cluster.topic("positions"), mixed(200)
    cluster.send(topic, sent)
    for isolation in ("read_uncommitted", "read_committed"):
        for first in (0, 57, 199):
            check_same(cluster.read(topic, 200 - first, first, isolation_level=isolation), sent[first:], first)
    check_same(cluster.read(topic, 200, max_partition_fetch_bytes=100, max_poll_records=7), sent)


def past_the_end(cluster):
    topic = cluster.topic("past")
    cluster.send(topic, mixed(5))
    try:
        cluster.read(topic, 1, 1000)
        raise AssertionError("a record past the end")
    except errors.OffsetOutOfRangeError:
        pass


def waits(cluster):
    topic, found = cluster.topic("waits"), []
    reader = threading.Thread(target=lambda: found.extend(cluster.read(topic, 1, fetch_max_wait_ms=20_000)), daemon=True)
    reader.start()
    cluster.send(topic, [(None, b"awaited", [], None)])
    reader.join(LIMIT_S)
    equal([record.value for record in found], [b"awaited"], "records")


def offsets(cluster):
    topic = cluster.topic("offsets")
    cluster.send(topic, mixed(20))
    at, nowhere = TopicPartition(topic, 0), START_MS + 1000
    consumer = KafkaConsumer(bootstrap_servers=cluster.bootstrap)
    try:
        equal((consumer.beginning_offsets([at])[at], consumer.end_offsets([at])[at]), (0, 20), "first and last")
        found = consumer.offsets_for_times({at: START_MS + 7})[at]
        equal((found.offset, found.timestamp), (7, START_MS + 7), "by time")
        equal(consumer.offsets_for_times({at: nowhere})[at], None, "by a time after all")
    finally:
        consumer.close()
