"""Consumers in groups: assignments, rebalances eager and cooperative, static members, offsets, administration."""

import subprocess
import sys
import time

from confluent_kafka import Consumer, ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition

from harness.report import equal

from .cluster import LIMIT_S, QUIET

PARTITIONS = 4
# A consumer of another process, which can be killed without a word.
CHILD = """
import sys
from confluent_kafka import Consumer
consumer = Consumer({"bootstrap.servers": sys.argv[1], "group.id": sys.argv[2], "session.timeout.ms": 6000, "heartbeat.interval.ms": 100,
                     "auto.offset.reset": "earliest", "enable.auto.commit": False, "log_level": 2})
consumer.subscribe([sys.argv[3]], on_assign=lambda _, parts: print(len(parts), flush=True))
while True:
    consumer.poll(0.05)
"""


def tests(suite, cluster):
    suite.test("group-one-member-reads-all", lambda: one(cluster))
    suite.test("group-two-members-share", lambda: shared(cluster, "range"))
    suite.test("group-two-members-share-round-robin", lambda: shared(cluster, "roundrobin"))
    suite.test("group-cooperative", lambda: cooperative(cluster))
    suite.test("group-member-leaves", lambda: leaves(cluster))
    suite.test("group-killed-member-is-missed", lambda: killed(cluster))
    suite.test("group-static-member-comes-back", lambda: static(cluster))
    suite.test("group-static-member-twice-is-fenced", lambda: fenced(cluster))
    suite.test("group-commit-sync-async-and-stored", lambda: commits(cluster))
    suite.test("group-commit-automatic", lambda: automatic(cluster))
    suite.test("group-commit-of-one-who-is-out", lambda: too_late(cluster))
    suite.test("group-seek-pause-resume", lambda: seek(cluster))
    suite.test("group-reset-policies", lambda: resets(cluster))
    suite.test("group-described-listed-altered-deleted", lambda: administered(cluster))


def filled(cluster, about, count):
    topic = cluster.topic(about, partitions=PARTITIONS)
    fill(cluster, topic, 0, count)
    return topic


def fill(cluster, topic, first, count):
    cluster.send(topic, [{"value": b"n%d" % at, "partition": at % PARTITIONS} for at in range(first, first + count)])


def member(cluster, group, **settings):
    own = {"bootstrap.servers": cluster.bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
           "session.timeout.ms": 6_000, "heartbeat.interval.ms": 100, "partition.assignment.strategy": "range", **QUIET}
    # Callbacks keep the names they have in Python.
    return Consumer({**own, **{key if key.startswith("on_") else key.replace("_", "."): value for key, value in settings.items()}})


def gather(members, done, records=None):
    """Polls all members until `done(records)`; a record that comes twice is an error. Gives what came, by value."""
    records, deadline = {} if records is None else records, time.monotonic() + LIMIT_S
    while not done(records):
        assert time.monotonic() < deadline, f"{len(records)} records, assignments {[sorted(p.partition for p in m.assignment()) for m in members]}"
        for each in members:
            message = each.poll(0.02)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            assert message.value() not in records, f"{message.value()} was delivered twice"
            records[message.value()] = message
    return records


def settled(members, *counts):
    """Each member has so many partitions, and no two the same."""

    def done(_):
        assigned = [each.assignment() for each in members]
        all_of_them = {(at.topic, at.partition) for parts in assigned for at in parts}
        return [len(parts) for parts in assigned] == list(counts) and len(all_of_them) == sum(counts)

    return done


def values(count):
    return {b"n%d" % at for at in range(count)}


def committed(consumer, topic):
    found = consumer.committed([TopicPartition(topic, at) for at in range(PARTITIONS)], timeout=LIMIT_S)
    return {each.partition: each.offset for each in found if each.offset >= 0}


def one(cluster):
    topic, group = filled(cluster, "one", 200), cluster.fresh_name("group")
    consumer = member(cluster, group)
    try:
        consumer.subscribe([topic])
        equal(set(gather([consumer], lambda records: len(records) == 200)), values(200), "records")
        equal(sorted(at.partition for at in consumer.assignment()), [0, 1, 2, 3], "assignment")
        assert consumer.memberid().startswith("rdkafka-"), f"member id {consumer.memberid()}"
    finally:
        consumer.close()


def shared(cluster, strategy):
    topic, group = filled(cluster, "shared", 100), cluster.fresh_name("group")
    first, second = (member(cluster, group, partition_assignment_strategy=strategy) for _ in range(2))
    try:
        first.subscribe([topic])
        records = gather([first], lambda records: len(records) == 100)
        first.commit(asynchronous=False)
        second.subscribe([topic])
        gather([first, second], settled([first, second], 2, 2), records)
        fill(cluster, topic, 100, 100)
        gather([first, second], lambda records: len(records) == 200, records)
        equal(set(records), values(200), "records of both")
    finally:
        first.close()
        second.close()


def cooperative(cluster):
    topic, group, revoked = filled(cluster, "cooperative", 40), cluster.fresh_name("group"), []
    first, second = (member(cluster, group, partition_assignment_strategy="cooperative-sticky") for _ in range(2))
    try:
        first.subscribe([topic], on_revoke=lambda _, parts: revoked.extend(parts))
        records = gather([first], lambda records: len(records) == 40)
        first.commit(asynchronous=False)
        second.subscribe([topic])
        gather([first, second], settled([first, second], 2, 2), records)
        equal(sorted(at.partition for at in revoked), sorted(at.partition for at in second.assignment()), "partitions that moved")
    finally:
        first.close()
        second.close()


def leaves(cluster):
    topic, group = filled(cluster, "leaves", 40), cluster.fresh_name("group")
    first, second = member(cluster, group), member(cluster, group)
    try:
        first.subscribe([topic])
        second.subscribe([topic])
        gather([first, second], lambda records: settled([first, second], 2, 2)(records))
        second.close()
        began = time.monotonic()
        gather([first], settled([first], PARTITIONS), {})
        assert time.monotonic() - began < 5, "its session had to end first"
    finally:
        first.close()


def killed(cluster):
    topic, group = filled(cluster, "killed", 40), cluster.fresh_name("group")
    consumer = member(cluster, group)
    child = subprocess.Popen([sys.executable, "-c", CHILD, cluster.bootstrap, group, topic], stdout=subprocess.PIPE, text=True)
    try:
        equal(child.stdout.readline().strip(), str(PARTITIONS), "what the child has alone")
        consumer.subscribe([topic])
        # What it is given back it reads from the beginning: nothing was committed.
        deadline = time.monotonic() + LIMIT_S
        while len(consumer.assignment()) != 2:
            consumer.poll(0.05)
            assert time.monotonic() < deadline, "the group did not settle"
        child.kill()
        child.wait()
        while len(consumer.assignment()) != PARTITIONS:
            consumer.poll(0.05)
            assert time.monotonic() < deadline, "nobody missed the child"
    finally:
        child.kill()
        child.wait()
        consumer.close()


def static(cluster):
    topic, group, revoked = filled(cluster, "static", 40), cluster.fresh_name("group"), []
    long = {"session_timeout_ms": 30_000}
    first, second = member(cluster, group, group_instance_id="one", **long), member(cluster, group, group_instance_id="two", **long)
    try:
        first.subscribe([topic], on_revoke=lambda _, parts: revoked.extend(parts))
        second.subscribe([topic])
        gather([first, second], settled([first, second], 2, 2))
        its = sorted(at.partition for at in second.assignment())
        revoked.clear()
        second.close()
        second = member(cluster, group, group_instance_id="two", **long)
        second.subscribe([topic])
        gather([second], settled([second], 2), {})
        equal(sorted(at.partition for at in second.assignment()), its, "what it had")
        equal(revoked, [], "what the other one lost")
    finally:
        first.close()
        second.close()


def fenced(cluster):
    topic, group = filled(cluster, "twice", 40), cluster.fresh_name("group")
    first, second = (member(cluster, group, group_instance_id="same") for _ in range(2))
    try:
        first.subscribe([topic])
        gather([first], settled([first], PARTITIONS))
        second.subscribe([topic])
        gather([second], settled([second], PARTITIONS), {})
        try:
            gather([first], lambda _: False, {})
            raise AssertionError("two of one name")
        except KafkaException as error:
            equal(error.args[0].code(), KafkaError._FATAL, f"error ({error.args[0]})")
    finally:
        first.close()
        second.close()


def commits(cluster):
    topic, group = filled(cluster, "commits", 40), cluster.fresh_name("group")
    told = []
    consumer = member(cluster, group, enable_auto_offset_store=False, on_commit=lambda error, parts: told.append((error, parts[0].offset)))
    try:
        consumer.subscribe([topic])
        gather([consumer], lambda records: len(records) == 40)
        done = consumer.commit(offsets=[TopicPartition(topic, 0, 4), TopicPartition(topic, 1, 7)], asynchronous=False)
        equal([(at.partition, at.offset, at.error) for at in done], [(0, 4, None), (1, 7, None)], "told")
        equal(committed(consumer, topic), {0: 4, 1: 7}, "committed")
        told.clear()
        for offset in range(1, 10):
            consumer.commit(offsets=[TopicPartition(topic, 0, offset)])
        deadline = time.monotonic() + LIMIT_S
        while len(told) < 9:
            consumer.poll(0.05)
            assert time.monotonic() < deadline, f"{len(told)} answers of 9"
        equal(told, [(None, offset) for offset in range(1, 10)], "answers in order")
        equal(committed(consumer, topic), {0: 9, 1: 7}, "committed by the last")
        consumer.store_offsets(offsets=[TopicPartition(topic, 2, 5, "of mine")])
        consumer.commit(asynchronous=False)
        found = consumer.committed([TopicPartition(topic, 2)], timeout=LIMIT_S)[0]
        equal((found.offset, found.metadata), (5, "of mine"), "stored, then committed")
    finally:
        consumer.close()


def automatic(cluster):
    topic, group = filled(cluster, "auto", 40), cluster.fresh_name("group")
    consumer = member(cluster, group, enable_auto_commit=True, auto_commit_interval_ms=50)
    consumer.subscribe([topic])
    gather([consumer], lambda records: len(records) == 40)
    deadline = time.monotonic() + LIMIT_S
    while committed(consumer, topic) != {at: 10 for at in range(PARTITIONS)}:
        consumer.poll(0.02)
        assert time.monotonic() < deadline, "nothing was committed by itself"
    fill(cluster, topic, 40, 4)
    gather([consumer], lambda records: len(records) == 4)
    consumer.close()
    consumer = member(cluster, group)
    try:
        equal(committed(consumer, topic), {at: 11 for at in range(PARTITIONS)}, "committed by closing")
        consumer.subscribe([topic])
        fill(cluster, topic, 44, 4)
        equal(set(gather([consumer], lambda records: len(records) == 4)), {b"n%d" % at for at in range(44, 48)}, "records for the next")
    finally:
        consumer.close()


def too_late(cluster):
    topic, group = filled(cluster, "late", 40), cluster.fresh_name("group")
    first, second = member(cluster, group), member(cluster, group, max_poll_interval_ms=6_000)
    try:
        second.subscribe([topic])
        gather([second], settled([second], PARTITIONS))
        first.subscribe([topic])
        gather([first], settled([first], PARTITIONS), {})
        try:
            second.commit(offsets=[TopicPartition(topic, 0, 3)], asynchronous=False)
            raise AssertionError("a commit of one who is out")
        except KafkaException as error:
            # Which of them depends on what it has noticed by itself.
            known = (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError._MAX_POLL_EXCEEDED, KafkaError._NO_OFFSET)
            assert error.args[0].code() in known, f"error {error.args[0]}"
    finally:
        first.close()
        second.close()


def seek(cluster):
    topic, group = filled(cluster, "seek", 80), cluster.fresh_name("group")
    consumer = member(cluster, group)
    try:
        consumer.subscribe([topic])
        gather([consumer], lambda records: len(records) == 80)
        others = [TopicPartition(topic, at) for at in range(1, PARTITIONS)]
        consumer.pause(others)
        consumer.seek(TopicPartition(topic, 0, 5))
        records = gather([consumer], lambda records: len(records) == 15)
        equal({message.partition() for message in records.values()}, {0}, "partitions while the others pause")
        consumer.resume(others)
        for each in others:
            consumer.seek(TopicPartition(topic, each.partition, 0))
        equal(len(gather([consumer], lambda records: len(records) == 60)), 60, "records of the others")
    finally:
        consumer.close()


def resets(cluster):
    topic = filled(cluster, "resets", 40)
    consumer = member(cluster, cluster.fresh_name("group"), auto_offset_reset="error")
    try:
        consumer.subscribe([topic])
        gather([consumer], lambda records: bool(records))
        raise AssertionError("a record although there is no offset")
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError._AUTO_OFFSET_RESET, f"error ({error.args[0]})")
    finally:
        consumer.close()
    consumer = member(cluster, cluster.fresh_name("group"), auto_offset_reset="latest", enable_partition_eof=True)
    try:
        consumer.subscribe([topic])
        ends, deadline = set(), time.monotonic() + LIMIT_S
        while len(ends) < PARTITIONS:
            assert time.monotonic() < deadline, f"ends of {ends}"
            message = consumer.poll(0.1)
            if message is not None:
                equal(message.error() and message.error().code(), KafkaError._PARTITION_EOF, "the first thing there is")
                ends.add(message.partition())
    finally:
        consumer.close()


def administered(cluster):
    topic, group = filled(cluster, "administered", 40), cluster.fresh_name("group")
    consumer = member(cluster, group, client_id="administered", group_instance_id="seat")
    try:
        consumer.subscribe([topic])
        gather([consumer], settled([consumer], PARTITIONS))
        found = cluster.admin.describe_consumer_groups([group], request_timeout=LIMIT_S)[group].result()
        equal((found.state, found.partition_assignor, len(found.members)), (ConsumerGroupState.STABLE, "range", 1), "described")
        one = found.members[0]
        equal((one.client_id, one.host, one.group_instance_id), ("administered", "/127.0.0.1", "seat"), "its member")
        equal(len(one.assignment.topic_partitions), PARTITIONS, "its partitions")
    finally:
        consumer.close()
    # A static member stays until its session ends.
    deadline = time.monotonic() + LIMIT_S
    while state(cluster, group) != ConsumerGroupState.EMPTY:
        assert time.monotonic() < deadline, "the member is still there"
        time.sleep(0.1)
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 3), TopicPartition(topic, 1, 4)])
    done = cluster.admin.alter_consumer_group_offsets([asked])[group].result(LIMIT_S)
    equal([(at.partition, at.error) for at in done.topic_partitions], [(0, None), (1, None)], "altered")
    known = cluster.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(LIMIT_S)
    equal({at.partition: at.offset for at in known.topic_partitions}, {0: 3, 1: 4}, "offsets")
    cluster.admin.delete_consumer_groups([group])[group].result(LIMIT_S)
    equal(state(cluster, group), None, "state of a group that was deleted")


def state(cluster, group):
    listed = cluster.admin.list_consumer_groups(request_timeout=LIMIT_S).result()
    return next((each.state for each in listed.valid if each.group_id == group), None)
