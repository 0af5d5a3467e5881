"""Three nodes: what the tools say of them and do with them, clients that go on while the nodes that lead die and come back, and the
same questions to three of Apache's.
"""

import contextlib

from harness import nodes, prepare
from harness.broker import Kafka

from . import answers, failover, racks, tools
from ..tools.kafka_tools import Tools

# Nobody is moved back to the replica that is preferred but who asks.
QUIET = {"auto.leader.rebalance.enable": "false"}
NEAR = {"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"}
QUICK = {"group.min.session.timeout.ms": 1_000, "group.consumer.session.timeout.ms": 3_000, "group.consumer.heartbeat.interval.ms": 200}
# Only Kafka has limits for these, and waits for a node's session where ours hears at once that it is gone.
QUICK_KAFKA = {"group.consumer.min.session.timeout.ms": 1_000, "group.consumer.min.heartbeat.interval.ms": 100,
               "broker.session.timeout.ms": 3_000, "broker.heartbeat.interval.ms": 500}


def run(suite, target):
    prepare.java_suite()
    with contextlib.ExitStack() as cleanup:
        broker = start(target, cleanup)
        if target is not Kafka and suite.wants("answers"):
            answers.tests(suite, broker, start(Kafka, cleanup))
        tools.tests(suite, Tools(broker))
        racks.tests(suite, Tools(broker))
        failover.tests(suite, broker)
        if not broker.alive():
            suite.report.fail(f"{suite.name}/broker survives", broker.tail())


def start(target, cleanup):
    broker = nodes.of(target)(QUIET | NEAR | QUICK | (QUICK_KAFKA if target is Kafka else {}))
    cleanup.callback(broker.remove)
    return broker.start()
