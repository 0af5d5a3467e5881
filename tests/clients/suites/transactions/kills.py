"""Transactions across `kill -9` of the broker: what was decided stays so, and what was not can still be decided."""

from harness import prepare
from harness.report import equal
from suites.librdkafka.cluster import Cluster
from wire.client import Client
from wire.specs import Specs

from .librdkafka import COMMITTED, UNCOMMITTED, Transactional, eventually, read

TOPICS = 2


def tests(suite, broker, prefix):
    suite.test(f"{prefix}across-kills", lambda: across(broker))


def across(broker):
    """At the kill one transaction is open, one was just committed, one just aborted. The open one goes on, and is committed or not."""
    cluster = Cluster(broker)
    topics = [cluster.topic(f"txn-killed-{at}") for at in range(TOPICS)]
    committed, aborted, both, neither = (Transactional(cluster).ready() for _ in range(4))
    for topic in topics:
        # Whoever begins holds back those behind it.
        for who, value in ((committed, b"committed"), (aborted, b"aborted"), (both, b"both, before"), (neither, b"neither, before")):
            if topic == topics[0]:
                who.begin()
            who.sent(topic, value)
    committed.commit()
    aborted.abort()
    if broker.name == "kafka":
        # It drops a marker whose partition has no leader yet, as after a start, and says the transaction is complete.
        await_complete(broker)
    broker.kill()
    broker.start()
    for topic in topics:
        both.sent(topic, b"both, after")
        neither.sent(topic, b"neither, after")
        equal([value for value in read(cluster, topic, COMMITTED) if value != b"committed"], [], "seen while two are open")
    both.commit()
    neither.abort()
    for topic in topics:
        eventually("committed", lambda topic=topic: read(cluster, topic, COMMITTED), [b"committed", b"both, before", b"both, after"])
        equal(sorted(read(cluster, topic, UNCOMMITTED)),
              [b"aborted", b"both, after", b"both, before", b"committed", b"neither, after", b"neither, before"], "all")
    for who in (committed, aborted, both, neither):
        who.in_one(topics[0], b"next")
        equal(who.refused, [], "records refused")
    eventually("committed", lambda: read(cluster, topics[0], COMMITTED)[3:], [b"next"] * 4)


def await_complete(broker):
    with Client(Specs(prepare.client_jar()), broker.address) as client:
        eventually("incomplete", lambda: [each for each in client.call("ListTransactions", 0, {})["TransactionStates"]
                                          if each["TransactionState"].startswith("Prepare")], [])
