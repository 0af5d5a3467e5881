"""Rows of broker/guarantees.toml from a client's view: librdkafka behind a proxy that loses what the row says."""

from harness import prepare
from wire.specs import Specs

from . import rows


def run(suite, target):
    broker = target()
    try:
        broker.start()
        rows.tests(suite, broker, Specs(prepare.client_jar()))
        if not broker.alive():
            suite.report.fail(f"{suite.name}/broker survives", broker.tail())
    finally:
        broker.remove()
