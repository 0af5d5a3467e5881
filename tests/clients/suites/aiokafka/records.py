"""What is produced is read back, with each codec; positions, times and limits of reading."""

import asyncio

from aiokafka import TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, OffsetOutOfRangeError

from harness.report import equal
from suites.samples import CODECS, START_MS, check_same, mixed


def tests(suite, cluster):
    for codec in CODECS:
        suite.test(f"produce-compression-{codec or 'none'}", cluster.run(round_trip(compression_type=codec)))
    suite.test("produce-idempotent-small-batches", cluster.run(round_trip(enable_idempotence=True, max_batch_size=800)))
    suite.test("produce-acks-1", cluster.run(round_trip(acks=1)))
    suite.test("produce-too-large-is-refused", cluster.run(too_large))
    suite.test("consume-positions", cluster.run(positions))
    suite.test("consume-past-the-end", cluster.run(past_the_end))
    suite.test("consume-waits-for-an-append", cluster.run(waits))
    suite.test("offsets-by-time-and-at-the-ends", cluster.run(offsets))


def round_trip(**settings):
    async def body(cluster):
        topic, sent = await cluster.topic("codec"), mixed(500)
        told = await cluster.send(topic, sent, **settings)
        equal([each.offset for each in told], list(range(500)), "offsets told")
        check_same(await cluster.read(topic, 500), sent)

    return body


async def too_large(cluster):
    topic = await cluster.topic("large")
    try:
        await cluster.send(topic, [(None, bytes(2 << 20), [], None)], max_request_size=4 << 20, max_batch_size=4 << 20)
        raise AssertionError("2 MiB in a record were taken")
    except MessageSizeTooLargeError:
        pass


async def positions(cluster):
    topic, sent = await cluster.topic("positions"), mixed(200)
    await cluster.send(topic, sent)
    for isolation in ("read_uncommitted", "read_committed"):
        for first in (0, 57, 199):
            check_same(await cluster.read(topic, 200 - first, first, isolation_level=isolation), sent[first:], first)
    check_same(await cluster.read(topic, 200, max_partition_fetch_bytes=100), sent)


async def past_the_end(cluster):
    topic = await cluster.topic("past")
    await cluster.send(topic, mixed(5))
    try:
        await cluster.read(topic, 1, 1000)
        raise AssertionError("a record past the end")
    except OffsetOutOfRangeError:
        pass


async def waits(cluster):
    topic = await cluster.topic("waits")
    reading = asyncio.create_task(cluster.read(topic, 1, fetch_max_wait_ms=20_000))
    await cluster.send(topic, [(None, b"awaited", [], None)])
    equal([record.value for record in await reading], [b"awaited"], "records")


async def offsets(cluster):
    topic = await cluster.topic("offsets")
    await cluster.send(topic, mixed(20))
    at = TopicPartition(topic, 0)
    async with cluster.consumer() as consumer:
        equal(((await consumer.beginning_offsets([at]))[at], (await consumer.end_offsets([at]))[at]), (0, 20), "first and last")
        found = (await consumer.offsets_for_times({at: START_MS + 7}))[at]
        equal((found.offset, found.timestamp), (7, START_MS + 7), "by time")
