"""Rows 1, 2, U1, U2a, U2b and U3, as librdkafka meets them."""

from harness import proxy
from harness.proxy import Proxy

from ..librdkafka.cluster import LIMIT_S, Cluster
from . import table

# How long the client waits for an answer that is lost.
SOON_MS = 1_000
LOST_ANSWER = {"lost": proxy.LOSE_REPLY, "cut": proxy.CUT_REPLY}
LOST_REQUEST = {"lost": proxy.LOSE_REQUEST, "cut": proxy.CUT_REQUEST}
# As librdkafka allows: idempotence with acks=all and retries only.
WAYS = [(1, False, True), (-1, False, True), (-1, True, True)]
WITHOUT_RETRIES = [(1, False, False), (-1, False, False)]


def tests(suite, broker, specs):
    world = World(broker, specs)
    for row, faults, ways in (("1", LOST_ANSWER, WAYS), ("2", LOST_REQUEST, WAYS), ("U1", LOST_ANSWER, WITHOUT_RETRIES),
                              ("2", LOST_REQUEST, WITHOUT_RETRIES)):
        for how, fault in faults.items():
            for way in ways:
                suite.test(f"row-{row}-{how}-{table.named(way)}", lambda row=row, fault=fault, way=way: one_fault(world, row, fault, way))
    for row, fault in (("U2a", proxy.LOSE_REPLY), ("U2b", proxy.LOSE_REQUEST)):
        for way in WAYS:
            suite.test(f"row-{row}-{table.named(way)}", lambda row=row, fault=fault, way=way: delivery_times_out(world, row, fault, way))
    for way in WAYS:
        if not way[1]:
            suite.test(f"row-U3-{table.named(way)}", lambda way=way: two_in_flight(world, way))


class World:
    def __init__(self, broker, specs):
        self.broker, self.specs = broker, specs
        self.cluster = Cluster(broker)


class Play:
    """One producer behind one proxy, one topic, one record a batch."""

    def __init__(self, world, about, way, **settings):
        acks, idempotence, retries = way
        self.world, self.topic = world, world.cluster.topic(about)
        self.proxy = Proxy(world.specs, world.broker.address)
        if not retries:
            settings["message_send_max_retries"] = 0
        self.producer = world.cluster.producer(bootstrap_servers=self.proxy.bootstrap, acks=acks, enable_idempotence=idempotence,
                                               batch_num_messages=1, linger_ms=0, retry_backoff_ms=10, **settings)
        self.sent, self.told = [], {}

    def produce(self, value):
        def note(error, _):
            self.told[value] = table.UNKNOWN if error else table.ACKNOWLEDGED

        self.sent.append(value)
        self.producer.produce(self.topic, value=value.encode(), on_delivery=note)

    def settle(self):
        left = self.producer.flush(LIMIT_S)
        assert left == 0, f"{left} records without an answer after {LIMIT_S} s"

    def stored(self):
        """Everything in the log: a record of somebody else ends it."""
        end = self.world.cluster.send(self.topic, [{"value": b"end"}])[0].offset()
        return [message.value().decode() for message in self.world.cluster.read(self.topic, end + 1)][:-1]

    def judge(self, row, way, met):
        assert self.proxy.struck.is_set(), "the fault did not happen"
        table.judge(table.cell(row, *way), self.sent, met, self.told, self.stored())
        self.proxy.close()


def one_fault(world, row, fault, way):
    play = Play(world, f"row{row}", way, socket_timeout_ms=SOON_MS)
    for value in ("before", "met", "after"):
        if value == "met":
            play.proxy.strike(fault)
        play.produce(value)
        play.settle()
    play.judge(row, way, "met")


def delivery_times_out(world, row, fault, way):
    # One attempt is all there is time for: it is given up with the record.
    play = Play(world, f"row{row}", way, message_timeout_ms=2 * SOON_MS)
    for value in ("before", "met", "after"):
        if value == "met":
            play.proxy.strike(fault)
        play.produce(value)
        play.settle()
    play.judge(row, way, "met")


def two_in_flight(world, way):
    play = Play(world, "rowU3", way, max_in_flight_requests_per_connection=2)
    play.produce("before")
    play.settle()
    play.proxy.strike(proxy.REFUSE)
    for value in ("first", "second"):
        play.produce(value)
    play.settle()
    play.produce("after")
    play.settle()
    play.judge("U3", way, "first")
