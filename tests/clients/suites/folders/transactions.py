"""A partition with transactions, written by Apache Kafka, under the broker and back: nothing of it changes."""

from confluent_kafka import Producer

from harness.broker import Kafka
from harness.report import equal
from suites.tools.kafka_tools import Tools
from wire.records import Batch

from .side import CLEAN_MARKER, LIMIT_S, connect, create, data_folder, give, read, reconnect, running

TOPIC = "transactions"
# With or without the transaction index that Kafka wrote: an unclean start makes it anew.
VARIANTS = {"stopped": True, "index-lost": False}


def tests(suite, target):
    for name, is_clean in VARIANTS.items():
        suite.test(f"transactions-of-kafka-{name}", lambda is_clean=is_clean: opened(target, is_clean), limit_s=180)


def write(broker):
    """Committed, aborted, and once more, with others in between."""
    for at, commits in enumerate((True, False, False, True)):
        producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": f"id-{at % 2}", "log_level": 2})
        producer.init_transactions(LIMIT_S)
        producer.begin_transaction()
        for number in range(3):
            producer.produce(TOPIC, b"%d in transaction %d" % (number, at))
        producer.flush(LIMIT_S)
        if commits:
            producer.commit_transaction(LIMIT_S)
        else:
            producer.abort_transaction(LIMIT_S)
        with connect(broker) as client:
            client.appended(TOPIC, Batch([b"of nobody"]))


def opened(target, is_clean):
    with running(Kafka) as kafka, running(target) as broker:
        with connect(kafka) as client:
            create(client, TOPIC)
            write(kafka)
            before = read(client, TOPIC)
        with connect(broker) as client:
            create(client, TOPIC)
            client.appended(TOPIC, Batch())
        kafka.stop()
        broker.stop()
        tools, folder = Tools(broker), kafka.partition_folder(TOPIC)
        known = dump(tools, folder)
        give(kafka, broker, TOPIC)
        if not is_clean:
            (data_folder(broker, TOPIC) / CLEAN_MARKER).unlink()
            for path in broker.partition_folder(TOPIC).glob("*.txnindex"):
                path.unlink()
        broker.start()
        with reconnect(broker, TOPIC) as client:
            equal(read(client, TOPIC), before, "batches")
        broker.stop()
        equal(dump(tools, broker.partition_folder(TOPIC)), known, "what DumpLogSegments says")


def dump(tools, folder):
    """What the tool says of each transaction index, and of the newest snapshot: of each producer the last entry counts."""
    files = [*sorted(folder.glob("*.txnindex")), sorted(folder.glob("*.snapshot"))[-1]]
    assert len(files) >= 2, f"files: {files}"
    said = {}
    for path in files:
        lines = tools.run("DumpLogSegments", "--files", path)
        equal(lines[0], f"Dumping {path}", "first line")
        assert lines[1:], f"nothing in {path.name}"
        said[path.name] = {line.split()[1] if path.suffix == ".snapshot" else line: line for line in lines[1:]}
    return said
