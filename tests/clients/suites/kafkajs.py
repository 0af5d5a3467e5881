"""KafkaJS, a client for Node.js: the tests are JavaScript (../node), this starts them."""

from harness import prepare
from harness.relay import relay


def run(suite, target):
    prepare.need_program("node")
    program = prepare.node_suite()
    broker = target()
    try:
        broker.start()
        relay(suite, broker, ["node", program])
    finally:
        broker.remove()
