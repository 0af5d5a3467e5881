"""Rows 3 and 4: three nodes, and the leader is killed before anybody has what it appended, or when everybody has it and the answer
is lost. Played to librdkafka and to the Java client.
"""

import contextlib
import time

from confluent_kafka.admin import AdminClient, NewTopic

from harness import nodes, proxy
from harness.broker import Kafka

from ..librdkafka.cluster import LIMIT_S, Cluster
from . import table
from .producers import Java, Librdkafka

# As clients allow: idempotence with acks=all and retries only.
WAYS = [(0, False, True), (1, False, True), (1, False, False), (-1, False, True), (-1, True, True), (-1, False, False)]
REPLICAS = 3
# Records of nobody's, by which the tests tell where the log is.
SPACER = b"spacer"
# Who leads stays so, and Apache's nodes are missed soon.
QUIET = {"auto.leader.rebalance.enable": "false"}
QUICK_KAFKA = {"broker.session.timeout.ms": 6_000, "broker.heartbeat.interval.ms": 500}
SETTLE_LIMIT_S = 60
TEST_LIMIT_S = 240


def tests(suite, target, specs):
    plays = [(f"row-{row}-{client.name}-{table.named(way)}", play, client, way)
             for client in (Librdkafka, Java) for way in WAYS for row, play in (("3", before_replication), ("4", after_replication))]
    plays = [play for play in plays if suite.wants(play[0])]
    if not plays:
        return
    with contextlib.ExitStack() as cleanup:
        broker = nodes.of(target)(QUIET | (QUICK_KAFKA if target is Kafka else {}))
        cleanup.callback(broker.remove)
        world = World(broker.start(), specs)
        for name, play, client, way in plays:
            suite.test(name, lambda play=play, client=client, way=way: play(world, client, way), limit_s=TEST_LIMIT_S)
        if not broker.alive():
            suite.report.fail(f"{suite.name}/nodes survive", broker.tail())


class World:
    def __init__(self, broker, specs):
        self.broker, self.specs = broker, specs
        self.cluster = Cluster(broker)
        self.admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 2})

    def topic(self, about):
        name = self.cluster.fresh_name(about)
        config = {"min.insync.replicas": "2"}
        self.admin.create_topics([NewTopic(name, 1, REPLICAS, config=config)])[name].result(LIMIT_S)
        return name

    def partition(self, topic):
        return self.admin.list_topics(topic, timeout=LIMIT_S).topics[topic].partitions.get(0)

    def await_in_sync(self, topic):
        """Until everybody is; gives who leads."""
        there = eventually("everybody in sync", lambda: (at := self.partition(topic)) and at.leader >= 0 and len(at.isrs) == REPLICAS and at)
        return there.leader

    def await_another(self, topic, leader):
        eventually("another leader", lambda: (at := self.partition(topic)) and at.leader not in (leader, -1))


class Play:
    """One producer behind a proxy a node, on a topic of one partition."""

    def __init__(self, world, row, client, way):
        self.world, self.row, self.way = world, row, way
        self.topic = world.topic(f"row{row}")
        self.leader = world.await_in_sync(self.topic)
        self.proxies = proxy.Proxies(world.specs, world.broker.addresses)
        self.producer = client(self.proxies.bootstrap, self.topic, way)
        self.spacers = world.cluster.producer(acks=1, linger_ms=0)
        self.sent, self.is_leader_dead = [], False

    def kill_leader(self):
        self.is_leader_dead = True
        self.world.broker.kill_node(self.leader)

    def start_leader(self):
        if self.is_leader_dead:
            self.world.broker.start_node(self.leader)
            self.is_leader_dead = False

    def send(self, value, settles=True):
        self.sent.append(value)
        self.producer.send(value)
        if settles:
            self.producer.settle()

    def spacer(self):
        """A record with acks=1 at the leader; gives its offset."""
        told = []
        self.spacers.produce(self.topic, value=SPACER, on_delivery=lambda error, message: told.append(error or message.offset()))
        assert self.spacers.flush(LIMIT_S) == 0
        assert isinstance(told[0], int), told[0]
        return told[0]

    def await_appended(self, before):
        """Until the leader has one record more than those of ours."""
        expected = before + 1
        while (offset := self.spacer()) == expected:
            expected += 1
        assert offset == expected + 1, f"a spacer at {offset} where {expected} was next"

    def followers(self, order):
        for node in range(REPLICAS):
            if node != self.leader:
                order(node)

    def goes_on(self):
        self.producer.settle()
        # Whom nobody answers finds out in its own time who leads now: what it sends until then is lost, too.
        if self.way[0] != 0:
            self.send("after")
        self.judge()

    def judge(self):
        self.start_leader()
        self.world.await_in_sync(self.topic)
        end = self.world.cluster.send(self.topic, [{"value": b"end"}], acks=-1)[0].offset()
        values = [message.value() for message in self.world.cluster.read(self.topic, end + 1)][:-1]
        stored = [value.decode() for value in values if value != SPACER]
        table.judge(table.cell(self.row, *self.way), self.sent, "met", self.producer.told, stored)

    def close(self):
        self.producer.close()
        self.proxies.close()
        self.start_leader()


@contextlib.contextmanager
def playing(*about):
    play = Play(*about)
    try:
        play.send("before")
        # Everybody has it.
        play.world.cluster.send(play.topic, [{"value": SPACER}], acks=-1)
        yield play
    finally:
        play.close()


def before_replication(world, client, way):
    with playing(world, "3", client, way) as play:
        play.spacer()
        play.followers(world.broker.pause_node)
        try:
            # The fetches that wait are answered with this one; what comes behind it nobody has asked for.
            before = play.spacer()
            play.send("met", settles=way[0] == 1)
            play.await_appended(before)
            play.kill_leader()
        finally:
            play.followers(world.broker.resume_node)
        world.await_another(play.topic, play.leader)
        play.goes_on()


def after_replication(world, client, way):
    with playing(world, "4", client, way) as play:
        if way[0] == -1:
            struck = play.proxies.each[play.leader]
            struck.strike(proxy.LOSE_REPLY)
            play.send("met", settles=False)
            assert struck.struck.wait(SETTLE_LIMIT_S), "no answer to lose"
        else:
            play.send("met")
            # Another's record behind it is acknowledged by all, and so this one is everywhere.
            before = play.spacer()
            play.world.cluster.send(play.topic, [{"value": SPACER}], acks=-1)
            assert before > 0
        play.kill_leader()
        world.await_another(play.topic, play.leader)
        play.goes_on()


def eventually(what, holds):
    deadline = time.monotonic() + SETTLE_LIMIT_S
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {SETTLE_LIMIT_S} s: {what}"
        time.sleep(0.02)
    return found
