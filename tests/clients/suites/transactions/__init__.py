"""Transactions of the Java client, librdkafka and franz-go, with a coordinator of either version, and across `kill -9`."""

import contextlib

from harness import prepare
from harness.broker import Kafka
from harness.relay import relay
from suites.librdkafka.cluster import Cluster

from . import kills, librdkafka

# How often Kafka looks for transactions that take too long; ours knows when.
QUICK = {"transaction.abort.timed.out.transaction.cleanup.interval.ms": 100}
# With the second part of KIP-890, and without.
NEWEST = {"transaction.version": 2}
VERSIONS = {"": None, "tv1-": {"transaction.version": 1}}


def run(suite, target):
    classpath, program = prepare.java_suite(), prepare.go_suite("transactional")
    for prefix, features in VERSIONS.items():
        with contextlib.ExitStack() as cleanup:
            broker = target(QUICK if target is Kafka else None, features)
            cleanup.callback(broker.remove)
            broker.start()
            kind = f"{broker.name}-{(features or NEWEST)['transaction.version']}"
            java = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classpath, "highwater.suite.Transactions"]
            relay(suite, broker, [*java, f"{prefix}java-", kind])
            relay(suite, broker, [program, f"{prefix}go-", kind])
            librdkafka.tests(suite, Cluster(broker), f"{prefix}librdkafka-")
            kills.tests(suite, broker, prefix)
            if not broker.alive():
                suite.report.fail(f"{suite.name}/{prefix}broker survives", broker.tail())
