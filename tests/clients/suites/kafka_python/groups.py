"""Consumers in groups, each with a thread of its own: commits, rebalances of three kinds, administration."""

import threading

from kafka import KafkaConsumer, TopicPartition, errors
from kafka.admin import MemberToRemove, OffsetSpec
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.structs import OffsetAndMetadata

from harness.report import equal

from .cluster import LIMIT_S, eventually

PARTITIONS = 4


def tests(suite, cluster):
    suite.test("group-reads-commits-and-goes-on", lambda: goes_on(cluster))
    for name, assignor in (("range", RangePartitionAssignor), ("roundrobin", RoundRobinPartitionAssignor), ("cooperative", CooperativeStickyAssignor)):
        suite.test(f"group-rebalances-{name}", lambda assignor=assignor: rebalances(cluster, assignor))
    suite.test("group-static-member-removed", lambda: removed(cluster))
    suite.test("group-administered", lambda: administered(cluster))


class Member(threading.Thread):
    """Reads, counts what came in `seen`, and commits it."""

    def __init__(self, cluster, group, topic, seen, **settings):
        super().__init__(daemon=True)
        self.seen, self.leaving, self.failure, self.assigned = seen, threading.Event(), None, set()
        settings = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "session_timeout_ms": 6_000, "heartbeat_interval_ms": 100,
                    "fetch_max_wait_ms": 100, **settings}
        self.consumer = KafkaConsumer(topic, bootstrap_servers=cluster.bootstrap, group_id=group, **settings)
        self.start()

    def run(self):
        try:
            while not self.leaving.is_set():
                # With less patience this client loses what it is assigned, when a rebalance ends between two polls.
                came = self.consumer.poll(1_000)
                self.assigned = {at.partition for at in self.consumer.assignment()}
                for record in (record for batch in came.values() for record in batch):
                    self.seen.append(record.value)
                if came:
                    self.consumer.commit()
        except Exception as error:  # noqa: BLE001: told by whoever looks after it
            self.failure = error
        finally:
            self.consumer.close()

    def leave(self):
        self.leaving.set()
        self.join(LIMIT_S)
        assert not self.is_alive(), "the member does not end"
        if self.failure:
            raise self.failure


def filled(cluster, about, count):
    topic = cluster.topic(about, partitions=PARTITIONS)
    spread(cluster, topic, 0, count)
    return topic, f"{topic}-group"


def spread(cluster, topic, first, count):
    records = [(None, b"n%d" % at, [], None) for at in range(first, first + count)]
    cluster.send(topic, records, partition=lambda at: (first + at) % PARTITIONS)


def values(count):
    return sorted(b"n%d" % at for at in range(count))


def committed(cluster, group):
    return {at.partition: place.offset for at, place in cluster.admin.list_group_offsets(group)[group].items()}


def each(offset):
    return dict.fromkeys(range(PARTITIONS), offset)


def goes_on(cluster):
    topic, group = filled(cluster, "goes-on", 100)
    seen = []
    for total in (100, 200):
        member = Member(cluster, group, topic, seen)
        eventually(f"{total} records", lambda: len(seen) >= total or member.failure)
        member.leave()
        equal(committed(cluster, group), each(total // PARTITIONS), "committed")
        spread(cluster, topic, total, 100)
    equal(sorted(seen), values(200), "records, each once")


def rebalances(cluster, assignor):
    topic, group = filled(cluster, "rebalances", 100)
    seen, settings = [], {"partition_assignment_strategy": [assignor]}
    first = Member(cluster, group, topic, seen, **settings)

    def done(total):
        return first.failure or len(seen) >= total and committed(cluster, group) == each(total // PARTITIONS)

    eventually("all records alone", lambda: done(100))
    second = Member(cluster, group, topic, seen, **settings)
    halves = lambda: len(first.assigned) == len(second.assigned) == 2 and not first.assigned & second.assigned  # noqa: E731
    eventually("a half each", lambda: halves() or first.failure or second.failure)
    spread(cluster, topic, 100, 100)
    eventually("all records of both", lambda: done(200) or second.failure)
    second.leave()
    eventually("all partitions again", lambda: len(first.assigned) == PARTITIONS or first.failure)
    first.leave()
    equal(sorted(seen), values(200), "records, each once")


def removed(cluster):
    topic, group = filled(cluster, "removed", 4)
    member = Member(cluster, group, topic, [], group_instance_id="seat")
    eventually("an assignment", lambda: len(member.assigned) == PARTITIONS or member.failure)
    member.leave()
    # A static member keeps its seat though it is gone.
    equal(state(cluster, group), ("Stable", 1), "state, members")
    cluster.admin.remove_group_members(group, [MemberToRemove(group_instance_id="seat")])
    equal(state(cluster, group), ("Empty", 0), "state, members")


def state(cluster, group):
    described = cluster.admin.describe_groups([group])[group]
    equal(described["error"], None, "error")
    return described["group_state"], len(described["members"])


def administered(cluster):
    topic, group = filled(cluster, "administered", 40)
    seen = []
    member = Member(cluster, group, topic, seen)
    eventually("all records", lambda: len(seen) == 40 or member.failure)
    listed = [one for one in cluster.admin.list_groups(states_filter=["Stable"], types_filter=["classic"]) if one["group_id"] == group]
    equal([(one["protocol_type"], one["group_state"]) for one in listed], [("consumer", "Stable")], "listed")
    equal(state(cluster, group), ("Stable", 1), "state, members")
    equal(cluster.admin.delete_groups([group]), {group: "NonEmptyGroupError"}, "deleting a group that has members")
    member.leave()
    at = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
    told = cluster.admin.alter_group_offsets(group, {one: OffsetAndMetadata(3, "set", -1) for one in at})
    equal(set(told.values()), {errors.NoError}, "told of altered offsets")
    equal(committed(cluster, group), each(3), "altered offsets")
    told = cluster.admin.reset_group_offsets(group, {at[0]: OffsetSpec.EARLIEST, at[1]: OffsetSpec.LATEST, at[2]: 1_000})
    equal({one.partition: place["offset"] for one, place in told.items()}, {0: 0, 1: 10, 2: 10}, "told of offsets that were reset")
    equal(committed(cluster, group), {0: 0, 1: 10, 2: 10, 3: 3}, "offsets that were reset")
    cluster.admin.delete_group_offsets(group, [at[0]])
    equal(committed(cluster, group), {1: 10, 2: 10, 3: 3}, "offsets left")
    equal(cluster.admin.delete_groups([group]), {group: "OK"}, "told of the deletion")
    equal([one for one in cluster.admin.list_groups() if one["group_id"] == group], [], "listed after it was deleted")
