"""Transactions of librdkafka."""

import logging
import time

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition

from harness.report import equal

LIMIT_S = 40
# It takes no less.
SHORT_MS = 1_000
# What it logs is what the tests are about.
SILENT = logging.getLogger("librdkafka-transactions")
SILENT.propagate = False
SILENT.addHandler(logging.NullHandler())
COMMITTED, UNCOMMITTED = "read_committed", "read_uncommitted"


def tests(suite, cluster, prefix):
    for name, body in (("two-topics", two_topics), ("abort", abort), ("an-open-one-holds-readers-back", holds_back), ("offsets", offsets),
                       ("offsets-of-nobody-there", offsets_of_stranger), ("fenced-while-idle", fenced_idle), ("fenced-commits", fenced_commits),
                       ("fenced-aborts", fenced_aborts), ("timed-out-commits", timed_out_commits), ("timed-out-aborts", timed_out_aborts)):
        suite.test(f"{prefix}{name}", lambda body=body: body(cluster))


class Transactional:
    """A producer with an id, and the words of the tests."""

    def __init__(self, cluster, name=None, timeout_ms=30_000):
        self.id = name or cluster.fresh_name("id")
        self.refused = []
        self.producer = Producer({"bootstrap.servers": cluster.bootstrap, "transactional.id": self.id, "transaction.timeout.ms": timeout_ms,
                                  "linger.ms": 0}, logger=SILENT)

    def ready(self):
        self.producer.init_transactions(LIMIT_S)
        return self

    def begin(self):
        self.producer.begin_transaction()

    def send(self, topic, *values, partition=0):
        for value in values:
            self.producer.produce(topic, value, partition=partition, on_delivery=self.delivered)

    def sent(self, topic, *values, partition=0):
        self.send(topic, *values, partition=partition)
        left = self.producer.flush(LIMIT_S)
        equal(left, 0, "records without an answer")

    def delivered(self, error, _):
        if error is not None:
            self.refused.append(error.code())

    def commit(self):
        self.producer.commit_transaction(LIMIT_S)

    def abort(self):
        self.producer.abort_transaction(LIMIT_S)

    def in_one(self, topic, *values):
        self.begin()
        self.send(topic, *values)
        self.commit()


def read(cluster, topic, isolation):
    """The values of partition 0, from its beginning to the end that readers of that isolation have."""
    consumer = cluster.consumer(isolation_level=isolation, enable_partition_eof=True)
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        values, deadline = [], time.monotonic() + LIMIT_S
        while True:
            assert time.monotonic() < deadline, f"no end of {topic} within {LIMIT_S} s: {values}"
            message = consumer.poll(0.5)
            if message is None:
                continue
            if message.error() is None:
                values.append(message.value())
            elif message.error().code() == KafkaError._PARTITION_EOF:
                return values
            else:
                raise KafkaException(message.error())
    finally:
        consumer.close()


def eventually(what, found, expected):
    deadline = time.monotonic() + LIMIT_S
    while True:
        value = found()
        if value == expected:
            return
        assert time.monotonic() < deadline, f"{what} within {LIMIT_S} s: found {value}, expected {expected}"
        time.sleep(0.02)


def refusal(call):
    """What a call is refused with: its code, and whether the producer is done for (fatal), the transaction, or neither."""
    try:
        call()
    except KafkaException as raised:
        error = raised.args[0]
        return error.name(), "fatal" if error.fatal() else "abort" if error.txn_requires_abort() else "retry" if error.retriable() else "wrong"
    return "nothing"


# ---- what readers see


def two_topics(cluster):
    topics = [cluster.topic("txn-a"), cluster.topic("txn-b")]
    one = Transactional(cluster).ready()
    one.begin()
    for topic in topics:
        one.sent(topic, b"0", b"1", b"2")
    for topic in topics:
        equal(read(cluster, topic, COMMITTED), [], "committed before the end")
        equal(read(cluster, topic, UNCOMMITTED), [b"0", b"1", b"2"], "all that was written")
    one.commit()
    for topic in topics:
        eventually("committed", lambda topic=topic: read(cluster, topic, COMMITTED), [b"0", b"1", b"2"])


def abort(cluster):
    topic, one = cluster.topic("txn-abort"), Transactional(cluster).ready()
    for number in range(6):
        one.begin()
        one.sent(topic, b"%d" % number)
        if number % 2:
            one.abort()
        else:
            one.commit()
    eventually("committed", lambda: read(cluster, topic, COMMITTED), [b"0", b"2", b"4"])
    equal(read(cluster, topic, UNCOMMITTED), [b"%d" % number for number in range(6)], "all")
    equal(one.refused, [], "records refused")


def holds_back(cluster):
    topic, first, second = cluster.topic("txn-open"), Transactional(cluster).ready(), Transactional(cluster).ready()
    first.begin()
    first.sent(topic, b"first")
    second.in_one(topic, b"second")
    cluster.send(topic, [{"value": b"plain"}])
    equal(read(cluster, topic, COMMITTED), [], "committed, while the first is open")
    first.commit()
    eventually("committed", lambda: read(cluster, topic, COMMITTED), [b"first", b"second", b"plain"])


# ---- offsets


def committed(cluster, group, topic):
    """None while it is not decided: librdkafka asks so that this is waited for."""
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])
    return cluster.admin.list_consumer_group_offsets([asked], require_stable=True, request_timeout=LIMIT_S)[group].result(LIMIT_S).topic_partitions[0].offset


def offsets(cluster):
    topic, one = cluster.topic("txn-offsets"), Transactional(cluster).ready()
    cluster.send(topic, [{"value": b"in"}] * 5)
    group = cluster.fresh_name("group")
    consumer = cluster.consumer(group_id=group, auto_offset_reset="earliest")
    try:
        consumer.subscribe([topic])
        while consumer.poll(0.2) is None:
            pass
        for at, ends in ((3, True), (5, False)):
            one.begin()
            one.producer.send_offsets_to_transaction([TopicPartition(topic, 0, at)], consumer.consumer_group_metadata(), LIMIT_S)
            one.commit() if ends else one.abort()
        equal(committed(cluster, group, topic), 3, "committed")
    finally:
        consumer.close()


def offsets_of_stranger(cluster):
    """A member that has left commits nothing."""
    topic, one, group = cluster.topic("txn-left"), Transactional(cluster).ready(), cluster.fresh_name("group")
    cluster.send(topic, [{"value": b"in"}])
    consumer = cluster.consumer(group_id=group, auto_offset_reset="earliest")
    consumer.subscribe([topic])
    while consumer.poll(0.2) is None:
        pass
    who = consumer.consumer_group_metadata()
    one.begin()
    one.producer.send_offsets_to_transaction([TopicPartition(topic, 0, 1)], who, LIMIT_S)
    one.commit()
    consumer.close()
    one.begin()
    one.sent(topic, b"never seen")
    equal(refusal(lambda: one.producer.send_offsets_to_transaction([TopicPartition(topic, 0, 9)], who, LIMIT_S)), ("UNKNOWN_MEMBER_ID", "abort"), "offsets of who has left")
    one.abort()
    one.in_one(topic, b"seen")
    equal(committed(cluster, group, topic), 1, "committed")
    eventually("committed", lambda: read(cluster, topic, COMMITTED), [b"in", b"seen"])


# ---- fencing


def fenced_idle(cluster):
    topic, first = cluster.topic("txn-fenced"), Transactional(cluster).ready()
    first.in_one(topic, b"before")
    second = Transactional(cluster, first.id).ready()
    first.begin()
    first.send(topic, b"never seen")
    equal(refusal(first.commit), ("_FENCED", "fatal"), "a commit")
    second.in_one(topic, b"after")
    eventually("committed", lambda: read(cluster, topic, COMMITTED), [b"before", b"after"])


def fenced(cluster, end, expected):
    topic, first = cluster.topic("txn-fenced"), Transactional(cluster).ready()
    first.begin()
    first.sent(topic, b"of the first")
    second = Transactional(cluster, first.id).ready()
    equal(refusal(lambda: end(first)), expected, "the end of the first")
    second.in_one(topic, b"of the second")
    eventually("committed", lambda: read(cluster, topic, COMMITTED), [b"of the second"])


def fenced_commits(cluster):
    fenced(cluster, Transactional.commit, ("_FENCED", "fatal"))


def fenced_aborts(cluster):
    fenced(cluster, Transactional.abort, ("_FENCED", "fatal"))


# ---- too slow


def timed_out(cluster, end, expected):
    topic, one = cluster.topic("txn-slow"), Transactional(cluster, timeout_ms=SHORT_MS).ready()
    one.begin()
    one.sent(topic, b"never seen")
    cluster.send(topic, [{"value": b"behind it"}])
    # What stands behind it is seen once it has been aborted.
    eventually("committed", lambda: read(cluster, topic, COMMITTED), [b"behind it"])
    equal(refusal(lambda: end(one)), expected, "the end of what took too long")
    Transactional(cluster, one.id).ready().in_one(topic, b"of the next")
    eventually("committed", lambda: read(cluster, topic, COMMITTED), [b"behind it", b"of the next"])


def timed_out_commits(cluster):
    timed_out(cluster, Transactional.commit, ("_FENCED", "fatal"))


def timed_out_aborts(cluster):
    timed_out(cluster, Transactional.abort, ("_FENCED", "fatal"))
