"""A member of a group that tells what it does: reads, then commits. It leaves when it is told to end.

Arguments: bootstrap address, group, topic, `range`, `cooperative` or `consumer`. What it prints is described in members.py.
"""

import signal
import sys
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

SESSION_MS, HEARTBEAT_MS, RECORDS_AT_ONCE = 3_000, 200, 50


def tell(event, *words):
    print(event, time.time_ns() // 1000, *words, flush=True)


class Pending(dict):
    """Places that were read to and are not committed: by partition, for those the member has."""

    def changed(self, how):
        def told(_, partitions):
            numbers = [at.partition for at in partitions]
            tell(how, *numbers)
            for number in numbers:
                self.pop(number, None)

        return told

    def commit(self, consumer, topic):
        for place in self.items():
            tell("committing", *place)
        try:
            for at in consumer.commit(offsets=[TopicPartition(topic, *place) for place in self.items()], asynchronous=False):
                if at.error is None:
                    tell("committed", at.partition, at.offset)
                    self.pop(at.partition, None)
                else:
                    tell("refused", at.error.name())
        except KafkaException as error:
            tell("refused", error.args[0].name())


def read(bootstrap, group, topic, strategy):
    settings = {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
                "client.id": "librdkafka", "fetch.wait.max.ms": 100, "log_level": 2}
    if strategy == "consumer":
        settings |= {"group.protocol": "consumer"}
    else:
        name = "range" if strategy == "range" else "cooperative-sticky"
        settings |= {"session.timeout.ms": SESSION_MS, "heartbeat.interval.ms": HEARTBEAT_MS, "partition.assignment.strategy": name}
    leaving = []
    signal.signal(signal.SIGTERM, lambda *_: leaving.append(True))
    consumer, pending = Consumer(settings), Pending()
    consumer.subscribe([topic], on_assign=pending.changed("assigned"), on_revoke=pending.changed("revoked"), on_lost=pending.changed("lost"))
    while not leaving:
        for message in consumer.consume(RECORDS_AT_ONCE, 0.05):
            if message.error():
                # It tells of what it goes on from by itself, too.
                assert not message.error().fatal(), str(message.error())
                continue
            tell("read", message.partition(), message.offset(), message.value().decode())
            pending[message.partition()] = message.offset() + 1
        if pending:
            pending.commit(consumer, topic)
    consumer.close()


if __name__ == "__main__":
    try:
        read(*sys.argv[1:])
        tell("left")
    except Exception as error:  # noqa: BLE001: told to the judge
        tell("failed", repr(error).replace("\n", " "))
