"""Members written by different people in one group, by each way of dividing partitions that they share."""

from harness import prepare
from harness.broker import Kafka

from .story import Story

LIMIT_S = 400
SESSION_MS, HEARTBEAT_MS = 3_000, 200
QUICK = {"group.min.session.timeout.ms": 1_000, "group.consumer.session.timeout.ms": SESSION_MS, "group.consumer.heartbeat.interval.ms": HEARTBEAT_MS}
# Only Kafka has limits for these.
QUICK_KAFKA = {"group.consumer.min.session.timeout.ms": 1_000, "group.consumer.min.heartbeat.interval.ms": 100}


def run(suite, target):
    prepare.java_suite()
    prepare.go_suite("member")
    broker = target(QUICK | (QUICK_KAFKA if target is Kafka else {}))
    try:
        broker.start()
        # The first two are of the classic protocol, the last of both.
        for strategy in ("range", "cooperative", "consumer", "changing"):
            suite.test(f"group-{strategy}", lambda strategy=strategy: Story(broker, strategy).tell(), limit_s=LIMIT_S)
        if not broker.alive():
            suite.report.fail(f"{suite.name}/broker survives", broker.tail())
    finally:
        broker.remove()
