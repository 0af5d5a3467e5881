"""Apache's Java client: the tests are Java (../java), this starts them."""

from harness import prepare
from harness.broker import Kafka
from harness.relay import relay


# A member of a consumer group hears of a change with its next heartbeat, of which Kafka wants one in five seconds.
QUICK = {"group.consumer.min.heartbeat.interval.ms": 200, "group.consumer.heartbeat.interval.ms": 200}


def run(suite, target):
    classpath = prepare.java_suite()
    broker = target(QUICK if target is Kafka else None)
    try:
        broker.start()
        relay(suite, broker, ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classpath, "highwater.suite.Main"])
    finally:
        broker.remove()
