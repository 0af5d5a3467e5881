"""Apache's Java client: the tests are Java (../java), this starts them."""

from harness import prepare
from harness.relay import relay


def run(suite, target):
    classpath = prepare.java_suite()
    broker = target()
    try:
        broker.start()
        relay(suite, broker, ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classpath, "highwater.suite.Main"])
    finally:
        broker.remove()
