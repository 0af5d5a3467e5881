"""A partition with transactions, written by Apache Kafka, under the broker and back: nothing of it changes."""

from confluent_kafka import Producer

from harness.broker import Kafka
from harness.report import equal
from suites.tools.kafka_tools import Tools
from wire.records import Batch

from .side import CLEAN_MARKER, LIMIT_S, connect, create, data_folder, give, read, reconnect, running

TOPIC = "transactions"
LONG_AGO_MS = 1_700_000_000_000
# With or without the transaction index that Kafka wrote: an unclean start makes it anew.
VARIANTS = {"stopped": True, "index-lost": False}


def tests(suite, target):
    for name, is_clean in VARIANTS.items():
        suite.test(f"transactions-of-kafka-{name}", lambda is_clean=is_clean: opened(target, is_clean), limit_s=180)
    suite.test("transactions-of-kafka-left-open", lambda: left_open(target), limit_s=180)


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


def left_open(target):
    """A transaction whose coordinator stayed behind: nobody will ever end it but who is told of it and aborts it."""
    with running(Kafka) as kafka, running(target) as broker:
        with connect(kafka) as client:
            create(client, TOPIC)
            producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": "left", "log_level": 2})
            producer.init_transactions(LIMIT_S)
            producer.begin_transaction()
            # As old as what hangs: longer than any transaction may take.
            producer.produce(TOPIC, b"left open", timestamp=LONG_AGO_MS)
            equal(producer.flush(LIMIT_S), 0, "records without an answer")
            client.appended(TOPIC, Batch([b"behind it"]))
        with connect(broker) as client:
            create(client, TOPIC)
            client.appended(TOPIC, Batch())
        kafka.stop()
        broker.stop()
        give(kafka, broker, TOPIC)
        broker.start()
        with reconnect(broker, TOPIC) as client:
            equal(stable_end(client), 0, "what may be read of what is committed")
            tools = Tools(broker)
            at = ("--topic", TOPIC, "--partition", 0)
            [row] = tools.on_broker("TransactionsCommand", "find-hanging", *at)[1:]
            # Topic, partition, producer, epoch, coordinator's epoch, start.
            equal(row.split()[:2] + row.split()[5:6], [TOPIC, "0", "0"], "what hangs")
            tools.on_broker("TransactionsCommand", "abort", *at, "--start-offset", 0)
            equal(tools.on_broker("TransactionsCommand", "find-hanging", *at)[1:], [], "what hangs after it was aborted")
            equal(stable_end(client), 3, "what may be read of what is committed, after that")


def stable_end(client):
    asked = {"ReplicaId": -1, "IsolationLevel": 1, "Topics": [{"Name": TOPIC, "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]}]}
    return client.call("ListOffsets", 6, asked)["Topics"][0]["Partitions"][0]["Offset"]


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
