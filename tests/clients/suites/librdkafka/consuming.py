"""Reads with assigned partitions: positions, watermarks, times, limits."""

import threading
import time

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, KafkaException, TopicPartition

from harness.report import equal

from .cluster import LIMIT_S, noise, poll

START_MS = 1_700_000_000_000


def tests(suite, cluster):
    suite.test("consume-from-beginning-end-and-offset", lambda: positions(cluster))
    suite.test("consume-end-of-partition-event", lambda: end_event(cluster))
    suite.test("consume-out-of-range", lambda: out_of_range(cluster))
    suite.test("consume-many-partitions", lambda: many_partitions(cluster))
    suite.test("consume-small-fetches", lambda: small_fetches(cluster))
    suite.test("consume-read-uncommitted-and-committed", lambda: isolation(cluster))
    suite.test("consume-waits-for-an-append", lambda: waits(cluster))
    suite.test("watermark-offsets", lambda: watermarks(cluster))
    suite.test("offsets-for-times", lambda: times(cluster))


def filled(cluster, about, count, **settings):
    topic = cluster.topic(about)
    cluster.send(topic, [{"value": b"n%d" % at, "timestamp": START_MS + 1000 * at} for at in range(count)], batch_num_messages=7, **settings)
    return topic


def positions(cluster):
    topic = filled(cluster, "positions", 100)
    for offset, first in ((OFFSET_BEGINNING, 0), (0, 0), (57, 57), (99, 99)):
        message = cluster.read(topic, 1, offset=offset)[0]
        equal((message.offset(), message.value()), (first, b"n%d" % first), f"first record from {offset}")
        equal(message.timestamp()[1], START_MS + 1000 * first, "timestamp")
    consumer = cluster.consumer()
    try:
        consumer.assign([TopicPartition(topic, 0, 40)])
        equal(poll(consumer, 1)[0].offset(), 40, "first record after assign")
        consumer.seek(TopicPartition(topic, 0, 11))
        equal(poll(consumer, 1)[0].offset(), 11, "first record after seek")
    finally:
        consumer.close()


def end_event(cluster):
    topic = filled(cluster, "eof", 5)
    for offset, count in ((0, 5), (5, 0), (OFFSET_END, 0)):
        consumer = cluster.consumer(enable_partition_eof=True)
        try:
            consumer.assign([TopicPartition(topic, 0, offset)])
            found, deadline = 0, time.monotonic() + LIMIT_S
            while True:
                assert time.monotonic() < deadline, f"no end of partition from {offset}"
                message = consumer.poll(0.2)
                if message is None:
                    continue
                if message.error():
                    equal(message.error().code(), KafkaError._PARTITION_EOF, f"event ({message.error()})")
                    equal(message.offset(), 5, "offset of the end")
                    break
                found += 1
            equal(found, count, f"records from {offset}")
        finally:
            consumer.close()


def out_of_range(cluster):
    topic = filled(cluster, "range", 5)
    try:
        cluster.read(topic, 1, offset=1000)
        raise AssertionError("a record beyond the end")
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError._AUTO_OFFSET_RESET, f"error ({error.args[0]})")
    equal(cluster.read(topic, 1, offset=1000, auto_offset_reset="earliest")[0].offset(), 0, "after reset to earliest")


def many_partitions(cluster):
    topic = cluster.topic("wide", partitions=6)
    told = cluster.send(topic, [{"value": b"%d" % at, "key": b"key %d" % (at % 50)} for at in range(1200)])
    consumer = cluster.consumer()
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(6)])
        read = {(message.partition(), message.offset()): message.value() for message in poll(consumer, 1200)}
    finally:
        consumer.close()
    equal(read, {(each.partition(), each.offset()): each.value() for each in told}, "records by partition and offset")


def small_fetches(cluster):
    topic = cluster.topic("small")
    values = [noise(at, 3000) for at in range(60)]
    cluster.send(topic, [{"value": value} for value in values], batch_num_messages=3)
    read = cluster.read(topic, 60, fetch_max_bytes=1000, fetch_message_max_bytes=1000, message_max_bytes=1000)
    equal([message.value() for message in read], values, "values")


def isolation(cluster):
    topic = filled(cluster, "isolation", 50)
    for level in ("read_uncommitted", "read_committed"):
        equal([message.offset() for message in cluster.read(topic, 50, isolation_level=level)], list(range(50)), f"offsets at {level}")


def waits(cluster):
    topic = filled(cluster, "waits", 3)
    consumer = cluster.consumer(fetch_wait_max_ms=10_000)
    try:
        consumer.assign([TopicPartition(topic, 0, 3)])
        assert consumer.poll(0.3) is None, "a record beyond the end"
        appending = threading.Thread(target=cluster.send, args=(topic, [{"value": b"awaited"}]))
        appending.start()
        equal(poll(consumer, 1)[0].value(), b"awaited", "the record waited for")
        appending.join()
    finally:
        consumer.close()


def watermarks(cluster):
    full, empty = filled(cluster, "watermarks", 33), cluster.topic("empty")
    consumer = cluster.consumer()
    try:
        equal(consumer.get_watermark_offsets(TopicPartition(full, 0), timeout=LIMIT_S), (0, 33), "watermarks")
        equal(consumer.get_watermark_offsets(TopicPartition(empty, 0), timeout=LIMIT_S), (0, 0), "watermarks of an empty partition")
    finally:
        consumer.close()


def times(cluster):
    consumer = cluster.consumer()
    try:
        for codec in ("none", "zstd"):
            topic = filled(cluster, "times", 50, compression_type=codec)
            for at in range(50):
                for shift in (0, -1):
                    asked = [TopicPartition(topic, 0, START_MS + 1000 * at + shift)]
                    equal(consumer.offsets_for_times(asked, timeout=LIMIT_S)[0].offset, at, f"offset for record {at}'s time {shift:+}")
            after = consumer.offsets_for_times([TopicPartition(topic, 0, START_MS + 50_000)], timeout=LIMIT_S)[0].offset
            equal(after, OFFSET_END, "offset for a time after the last")
    finally:
        consumer.close()
