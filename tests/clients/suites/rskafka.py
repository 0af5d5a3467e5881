"""rskafka, another Rust client: the tests are Rust (../rust), this starts them."""

from harness import prepare
from harness.relay import relay


def run(suite, target):
    program = prepare.rust_suite()
    broker = target()
    try:
        broker.start()
        relay(suite, broker, [program])
    finally:
        broker.remove()
