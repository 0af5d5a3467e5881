"""Requests built byte by byte: what no well-behaved client sends, and what it sends only when something went wrong."""

from harness import prepare
from wire.client import Client
from wire.specs import Specs

from . import appends, connections, reads, resends, restarts


class World:
    """The broker under test and ways to reach it."""

    def __init__(self, broker):
        self.broker = broker
        self.specs = Specs(prepare.client_jar())

    def client(self, client_id="suite"):
        return Client(self.specs, self.broker.address, client_id)


def run(suite, target):
    broker = target()
    try:
        broker.start()
        world = World(broker)
        for part in (resends, appends, reads, connections):
            part.tests(suite, world)
            if not broker.alive():
                suite.report.fail(f"{suite.name}/broker survives {part.__name__}", broker.tail())
                return
        restarts.tests(suite, world)
    finally:
        broker.remove()
