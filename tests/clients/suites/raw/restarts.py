"""What a broker still knows after a stop, clean or not: records, producers, topics."""

import time

from harness.report import equal
from wire.connection import Closed
from wire.records import Batch

from .resends import OUT_OF_ORDER_SEQUENCE, fill, numbered

AGAIN_LIMIT_S = 60


def tests(suite, world):
    suite.test("restart-after-a-clean-stop", lambda: restarted(world, world.broker.stop))
    suite.test("restart-after-a-kill", lambda: restarted(world, world.broker.kill))


def restarted(world, end):
    with world.client() as client:
        topic, producer_id = client.create_topic("restart"), client.producer_id()
        sent = fill(client, topic, producer_id, 8, 3)
        client.appended(topic, Batch(values=[b"plain"]))
        topic_id, before = client.topic_id(topic), client.log(topic)
    end()
    world.broker.start()
    with reconnected(world, topic) as client:
        equal(client.topic_id(topic), topic_id, "topic id")
        equal(client.log(topic), before, "the log, to the byte")
        batch, offset = sent[-1]
        equal(client.appended(topic, batch), offset, "the producer's last batch, again")
        equal(client.produce(topic, numbered(producer_id, 30))["ErrorCode"], OUT_OF_ORDER_SEQUENCE, "a gap")
        equal(client.appended(topic, numbered(producer_id, 24)), 25, "the next sequence")
        assert client.producer_id() > producer_id, "a producer id was given out twice"


def reconnected(world, topic):
    deadline = time.monotonic() + AGAIN_LIMIT_S
    while True:
        try:
            client = world.client()
            client.await_topic(topic)
            return client
        except (OSError, Closed):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
