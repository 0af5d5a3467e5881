"""Producers, consumers and topics of aiokafka on the broker under test."""

import asyncio
import itertools
import time
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from harness.report import equal

LIMIT_S = 40


class Cluster:
    def __init__(self, broker):
        self.bootstrap = broker.bootstrap
        self.names = itertools.count()

    def run(self, body):
        """A test: a coroutine with a loop of its own."""
        return lambda: asyncio.run(body(self))

    @asynccontextmanager
    async def admin(self):
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    def fresh_name(self, about):
        return f"aiokafka-{about}-{next(self.names)}"

    async def topic(self, about, partitions=1, **settings):
        name = self.fresh_name(about)
        configs = {key.replace("_", "."): value for key, value in settings.items()}
        async with self.admin() as admin:
            made = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
            equal(made.topic_errors[0][1], 0, "error of createTopics")
        return name

    async def send(self, topic, records, partition=lambda at: 0, **settings):
        """Sends (key, value, headers, time) each, waits for all; gives what the broker told of each."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, linger_ms=5, **settings)
        await producer.start()
        try:
            told = [await producer.send(topic, value, key, partition(at), time_ms, headers) for at, (key, value, headers, time_ms) in enumerate(records)]
            return await asyncio.wait_for(asyncio.gather(*told), LIMIT_S)
        finally:
            await producer.stop()

    @asynccontextmanager
    async def consumer(self, *topics, **settings):
        consumer = AIOKafkaConsumer(*topics, bootstrap_servers=self.bootstrap, **{"auto_offset_reset": "none", "fetch_max_wait_ms": 100, **settings})
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def read(self, topic, count, offset=0, **settings):
        """As many records of partition 0, from that offset on."""
        async with self.consumer(**settings) as consumer:
            at = TopicPartition(topic, 0)
            consumer.assign([at])
            consumer.seek(at, offset)
            records = []
            async with asyncio.timeout(LIMIT_S):
                while len(records) < count:
                    records.append(await consumer.getone())
            return records


async def eventually(what, holds):
    """`holds` may be a coroutine's function."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        found = holds()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < deadline, f"not within {LIMIT_S} s: {what}"
        await asyncio.sleep(0.02)
