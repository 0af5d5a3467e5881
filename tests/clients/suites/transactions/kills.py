"""Transactions across `kill -9` of the broker: what was decided stays so, and what was not can still be decided."""

import os
import random
import subprocess
import time

from harness import prepare
from harness.report import equal
from suites.crash import say
from suites.librdkafka.cluster import Cluster
from wire.client import Client
from wire.specs import Specs

from .librdkafka import COMMITTED, UNCOMMITTED, Transactional, eventually, read

TOPICS = 2


# Apache Kafka, alone, does not come through: see `await_complete`.
KILLS = {"highwater": 10, "kafka": 0}
MOST_RECORDS = 3_000
COPY_LIMIT_S = 300


def tests(suite, broker, prefix):
    suite.test(f"{prefix}librdkafka-across-kills", lambda: across(broker))
    suite.test(f"{prefix}java-copies-across-kills", lambda: copies(broker, prefix), limit_s=COPY_LIMIT_S)


def copies(broker, prefix):
    """Consume, transform, produce in transactions (../../java, Copy): the copy is the original, whatever was killed when."""
    seed = int(os.environ.get("HIGHWATER_SEED", time.time_ns() >> 10))
    kills = int(os.environ.get("HIGHWATER_COPY_KILLS", KILLS[broker.name]))
    prepare.say(f"transactions, {prefix}copies: HIGHWATER_SEED={seed}, {kills} kills")
    draw = random.Random(seed)
    command = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", prepare.java_suite(), "highwater.suite.Copy",
               broker.bootstrap, str(seed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as driver:
        try:
            for number in range(kills):
                say(driver, f"after {int(MOST_RECORDS ** draw.random())}", "now", f"before kill {number}")
                broker.kill()
                broker.start()
            say(driver, f"after {MOST_RECORDS}", "now", "before the end")
            said = say(driver, "end", "read", "after the last kill")
        finally:
            driver.kill()
    prepare.say(f"transactions, {prefix}copies: {said}")


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
    """Apache Kafka drops a marker whose partition has no leader yet, as after a start, and says that the transaction is complete."""
    with Client(Specs(prepare.client_jar()), broker.address) as client:
        eventually("incomplete", lambda: [each for each in client.call("ListTransactions", 0, {})["TransactionStates"]
                                          if each["TransactionState"].startswith("Prepare")], [])
