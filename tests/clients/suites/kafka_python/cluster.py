"""Producers, consumers and topics of kafka-python on the broker under test."""

import itertools
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

LIMIT_S = 40


class Cluster:
    def __init__(self, broker):
        self.bootstrap = broker.bootstrap
        self.admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        self.names = itertools.count()

    def fresh_name(self, about):
        return f"kafka-python-{about}-{next(self.names)}"

    def topic(self, about, partitions=1, **settings):
        name = self.fresh_name(about)
        configs = {key.replace("_", "."): value for key, value in settings.items()}
        self.admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1, "configs": configs}}, wait_for_metadata=True)
        return name

    def send(self, topic, records, partition=lambda at: 0, **settings):
        """Sends (key, value, headers, time) each, waits for all; gives what the broker told of each."""
        producer = KafkaProducer(bootstrap_servers=self.bootstrap, linger_ms=5, **settings)
        try:
            told = [producer.send(topic, value, key, headers, partition(at), time_ms) for at, (key, value, headers, time_ms) in enumerate(records)]
            return [each.get(LIMIT_S) for each in told]
        finally:
            producer.close()

    def read(self, topic, count, offset=0, **settings):
        """As many records of partition 0, from that offset on."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, auto_offset_reset="none", **settings)
        try:
            at = TopicPartition(topic, 0)
            consumer.assign([at])
            consumer.seek(at, offset)
            return poll(consumer, count)
        finally:
            consumer.close()


def poll(consumer, count):
    records, deadline = [], time.monotonic() + LIMIT_S
    while len(records) < count:
        assert time.monotonic() < deadline, f"{len(records)} records of {count} within {LIMIT_S} s"
        for batch in consumer.poll(200).values():
            records += batch
    return records


def eventually(what, holds):
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {LIMIT_S} s: {what}"
        time.sleep(0.02)
