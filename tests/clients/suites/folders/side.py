"""A broker whose folders are looked at and exchanged while it does not run."""

import contextlib
import shutil
import time

from harness import prepare
from wire.client import EARLIEST, Client
from wire.connection import Closed
from wire.records import batches
from wire.specs import Specs

LIMIT_S = 60
START_OFFSETS, RECOVERY_POINTS = "log-start-offset-checkpoint", "recovery-point-offset-checkpoint"
CLEAN_MARKER = ".kafka_cleanshutdown"


@contextlib.contextmanager
def running(kind, settings=None):
    broker = kind(settings)
    try:
        yield broker.start()
    finally:
        broker.remove()


def connect(broker):
    return Client(Specs(prepare.client_jar()), broker.address, "folders")


def reconnect(broker, topic):
    """A client of a broker that has just been started again, once it leads the topic."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            client = connect(broker)
            client.await_topic(topic)
            return client
        except (OSError, Closed):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def create(client, name, **settings):
    configs = [{"Name": key.replace("_", "."), "Value": str(value)} for key, value in settings.items()]
    topic = {"Name": name, "NumPartitions": 1, "ReplicationFactor": 1, "Configs": configs}
    answer = client.call("CreateTopics", 7, {"Topics": [topic], "timeoutMs": 30_000})
    assert answer["Topics"][0]["ErrorCode"] == 0, f"creating {name}: {answer}"
    client.await_topic(name)


def start_offset(client, topic):
    return client.end_offset(topic, timestamp=EARLIEST)


def read(client, topic):
    """All batches there are, as (base offset, count, bytes)."""
    at, end, found = start_offset(client, topic), client.end_offset(topic), []
    while at < end:
        more = batches(client.fetch(topic, at)["Records"] or b"")
        assert more, f"nothing to read at {at} although the log ends at {end}"
        found += more
        base, count, batch = more[-1]
        at = base + int.from_bytes(batch[23:27], "big") + 1
    return found


def data_folder(broker, topic):
    """Where the checkpoints of a broker are that has this topic."""
    return broker.partition_folder(topic).parent


def give(source, to, topic):
    """Puts one broker's partition in place of the same one of another; both do not run. The topic's id stays the other's."""
    theirs = to.partition_folder(topic)
    metadata = (theirs / "partition.metadata").read_bytes()
    shutil.rmtree(theirs)
    shutil.copytree(source.partition_folder(topic), theirs)
    (theirs / "partition.metadata").write_bytes(metadata)
