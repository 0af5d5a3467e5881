"""segmentio's kafka-go, another client for Go: the tests are Go (../go/segmentio), this starts them."""

from harness import prepare
from harness.relay import relay


def run(suite, target):
    program = prepare.go_suite("segmentio")
    broker = target()
    try:
        broker.start()
        relay(suite, broker, [program])
    finally:
        broker.remove()
