"""Producers, consumers and topics of librdkafka on the broker under test."""

import itertools
import random
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

LIMIT_S = 40
# What it logs is of retries, resets and the broker's end, which the tests are about.
QUIET = {"log_level": 2}


class Cluster:
    def __init__(self, broker):
        self.bootstrap = broker.bootstrap
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, **QUIET})
        self.names = itertools.count()

    def fresh_name(self, about):
        return f"rdkafka-{about}-{next(self.names)}"

    def topic(self, about, partitions=1, **settings):
        name = self.fresh_name(about)
        config = {key.replace("_", "."): value for key, value in settings.items()}
        self.admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(LIMIT_S)
        self.await_topic(name, partitions)
        return name

    def await_topic(self, name, partitions=1):
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            topic = self.admin.list_topics(name, timeout=LIMIT_S).topics[name]
            if topic.error is None and len(topic.partitions) == partitions:
                return
            time.sleep(0.02)
        raise AssertionError(f"{name} did not appear within {LIMIT_S} s: {topic.error}")

    def await_gone(self, name):
        deadline = time.monotonic() + LIMIT_S
        while name in self.admin.list_topics(timeout=LIMIT_S).topics:
            assert time.monotonic() < deadline, f"{name} is still listed {LIMIT_S} s after it was deleted"
            time.sleep(0.02)

    def producer(self, **settings):
        return Producer({"bootstrap.servers": self.bootstrap, "message.timeout.ms": LIMIT_S * 1000, "linger.ms": 5, **QUIET,
                         **{key.replace("_", "."): value for key, value in settings.items()}})

    def consumer(self, **settings):
        # A group id is asked of everyone; with assigned partitions and no commits no group comes into being.
        return Consumer({"bootstrap.servers": self.bootstrap, "group.id": "none", "enable.auto.commit": False,
                         "auto.offset.reset": "error", **QUIET, **{key.replace("_", "."): value for key, value in settings.items()}})

    def send(self, topic, records, **settings):
        """Sends all, waits for all; gives the delivered messages (or raises the first failure)."""
        producer, told = self.producer(**settings), [None] * len(records)

        def delivered(at):
            def note(error, message):
                told[at] = error or message

            return note

        for at, record in enumerate(records):
            while True:
                try:
                    producer.produce(topic, on_delivery=delivered(at), **record)
                    break
                except BufferError:
                    producer.poll(1)
            producer.poll(0)
        left = producer.flush(LIMIT_S)
        assert left == 0, f"{left} records without an answer after {LIMIT_S} s"
        for each in told:
            if not hasattr(each, "offset"):
                raise KafkaException(each)
        return told

    def read(self, topic, count, offset=0, partition=0, **settings):
        """Exactly as many records, from that offset on."""
        consumer = self.consumer(**settings)
        try:
            consumer.assign([TopicPartition(topic, partition, offset)])
            return poll(consumer, count)
        finally:
            consumer.close()


def poll(consumer, count):
    records, deadline = [], time.monotonic() + LIMIT_S
    while len(records) < count:
        assert time.monotonic() < deadline, f"{len(records)} records of {count} within {LIMIT_S} s"
        for message in consumer.consume(count - len(records), 0.2):
            if message.error():
                raise KafkaException(message.error())
            records.append(message)
    return records


def noise(seed, size):
    return random.Random(seed).randbytes(size)


def mixed(count):
    """Half of them compress well, half not at all."""
    words = b"the same words again and again "
    return [{"key": b"key-%d" % at, "value": words * (1 + at % 20) if at % 2 == 0 else noise(at, 1 + at % 700),
             "timestamp": 1_700_000_000_000 + at} for at in range(count)]


def check_same(read, sent, told):
    assert len(read) == len(sent), f"{len(read)} records read, {len(sent)} sent"
    for at, (found, expected, answer) in enumerate(zip(read, sent, told, strict=True)):
        for name, value in (("key", found.key()), ("value", found.value()), ("headers", found.headers())):
            assert value == expected.get(name), f"{name} of record {at}: {value!r:.200}, expected {expected.get(name)!r:.200}"
        if "timestamp" in expected:
            assert found.timestamp()[1] == expected["timestamp"], f"timestamp of record {at}: {found.timestamp()}"
        assert found.offset() == read[0].offset() + at, f"offset of record {at}: {found.offset()}"
        # A producer that waits for no answer does not learn offsets.
        if answer.offset() is not None:
            assert found.offset() == answer.offset(), f"offset of record {at}: {found.offset()}, told {answer.offset()}"
