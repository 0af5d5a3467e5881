"""Consumers in groups, each a task: commits, rebalances, administration."""

import asyncio

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from harness.report import equal

from .cluster import eventually

PARTITIONS = 4


def tests(suite, cluster):
    suite.test("group-reads-commits-and-goes-on", cluster.run(goes_on))
    for name, assignor in (("range", RangePartitionAssignor), ("roundrobin", RoundRobinPartitionAssignor), ("sticky", StickyPartitionAssignor)):
        suite.test(f"group-rebalances-{name}", cluster.run(rebalances(assignor)))
    suite.test("group-commits-by-itself", cluster.run(by_itself))
    suite.test("group-administered", cluster.run(administered))


class Member:
    """Reads, counts what came in `seen`, and commits it unless that happens by itself."""

    @classmethod
    async def join(cls, cluster, group, topic, seen, **settings):
        member = cls()
        settings = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "session_timeout_ms": 6_000, "heartbeat_interval_ms": 100,
                    "fetch_max_wait_ms": 100, **settings}
        member.consumer = AIOKafkaConsumer(topic, bootstrap_servers=cluster.bootstrap, group_id=group, **settings)
        await member.consumer.start()
        member.reading = asyncio.create_task(member.read(seen, commit=not settings["enable_auto_commit"]))
        member.leaving = False
        return member

    async def read(self, seen, commit):
        while not self.leaving:
            came = await self.consumer.getmany(timeout_ms=50)
            seen += [record.value for batch in came.values() for record in batch]
            if came and commit:
                await self.consumer.commit()

    def assigned(self):
        return {at.partition for at in self.consumer.assignment()}

    async def leave(self):
        self.leaving = True
        try:
            await self.reading
        finally:
            await self.consumer.stop()


async def filled(cluster, about, count):
    topic = await cluster.topic(about, partitions=PARTITIONS)
    await spread(cluster, topic, 0, count)
    return topic, f"{topic}-group"


async def spread(cluster, topic, first, count):
    records = [(None, b"n%d" % at, [], None) for at in range(first, first + count)]
    await cluster.send(topic, records, partition=lambda at: (first + at) % PARTITIONS)


def values(count):
    return sorted(b"n%d" % at for at in range(count))


async def committed(cluster, group):
    async with cluster.admin() as admin:
        return {at.partition: place.offset for at, place in (await admin.list_consumer_group_offsets(group)).items()}


def each(offset):
    return dict.fromkeys(range(PARTITIONS), offset)


async def goes_on(cluster):
    topic, group = await filled(cluster, "goes-on", 100)
    seen = []
    for total in (100, 200):
        member = await Member.join(cluster, group, topic, seen)
        await eventually(f"{total} records", lambda: len(seen) >= total or member.reading.done())
        await member.leave()
        equal(await committed(cluster, group), each(total // PARTITIONS), "committed")
        await spread(cluster, topic, total, 100)
    equal(sorted(seen), values(200), "records, each once")


def rebalances(assignor):
    async def body(cluster):
        topic, group = await filled(cluster, "rebalances", 100)
        seen, settings = [], {"partition_assignment_strategy": (assignor,)}
        first = await Member.join(cluster, group, topic, seen, **settings)

        async def done(total):
            return first.reading.done() or len(seen) >= total and await committed(cluster, group) == each(total // PARTITIONS)

        await eventually("all records alone", lambda: done(100))
        second = await Member.join(cluster, group, topic, seen, **settings)
        await eventually("a half each", lambda: len(first.assigned()) == len(second.assigned()) == 2 and not first.assigned() & second.assigned())
        await spread(cluster, topic, 100, 100)
        await eventually("all records of both", lambda: done(200))
        await second.leave()
        await eventually("all partitions again", lambda: len(first.assigned()) == PARTITIONS)
        await first.leave()
        equal(sorted(seen), values(200), "records, each once")

    return body


async def by_itself(cluster):
    topic, group = await filled(cluster, "auto", 40)
    seen = []
    member = await Member.join(cluster, group, topic, seen, enable_auto_commit=True, auto_commit_interval_ms=50)

    async def all_committed():
        return await committed(cluster, group) == each(10)

    await eventually("all records are committed", all_committed)
    await spread(cluster, topic, 40, 4)
    await eventually("four more", lambda: len(seen) == 44)
    await member.leave()
    equal(await committed(cluster, group), each(11), "committed by leaving")


async def administered(cluster):
    topic, group = await filled(cluster, "administered", 40)
    seen = []
    member = await Member.join(cluster, group, topic, seen)
    await eventually("all records", lambda: len(seen) == 40)
    async with cluster.admin() as admin:
        assert (group, "consumer") in [one[:2] for one in await admin.list_consumer_groups()], "the group is not listed"
        equal(await state(admin, group), ("Stable", 1), "state, members")
        await member.leave()
        equal(await state(admin, group), ("Empty", 0), "state, members")


async def state(admin, group):
    error, name, state, _, _, members, *_ = (await admin.describe_consumer_groups([group]))[0].groups[0]
    equal((error, name), (0, group), "error, group")
    return state, len(members)
