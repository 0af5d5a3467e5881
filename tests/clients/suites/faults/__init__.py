"""Rows of broker/guarantees.toml from a client's view: librdkafka behind a proxy that loses what the row says; and librdkafka and
the Java client with three nodes, of which the one that leads is killed.
"""

from harness import prepare
from wire.specs import Specs

from . import leaders, rows


def run(suite, target):
    broker, specs = target(), Specs(prepare.client_jar())
    try:
        broker.start()
        rows.tests(suite, broker, specs)
        if not broker.alive():
            suite.report.fail(f"{suite.name}/broker survives", broker.tail())
    finally:
        broker.remove()
    leaders.tests(suite, target, specs)
