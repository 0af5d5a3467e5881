"""franz-go, the Go client: the tests are Go (../go), this starts them."""

from harness import prepare
from harness.relay import relay


def run(suite, target):
    program = prepare.go_suite()
    broker = target()
    try:
        broker.start()
        relay(suite, broker, [program])
    finally:
        broker.remove()
