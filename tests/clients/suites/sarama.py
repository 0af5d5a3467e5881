"""sarama, a client for Go: the tests are Go (../go/sarama), this starts them."""

from harness import prepare
from harness.relay import relay


def run(suite, target):
    program = prepare.go_suite("sarama")
    broker = target()
    try:
        broker.start()
        relay(suite, broker, [program])
    finally:
        broker.remove()
