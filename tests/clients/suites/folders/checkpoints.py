"""The files beside the partitions: the same names and the same form as Apache Kafka's."""

import json
import re

from harness.broker import Kafka
from harness.report import equal
from wire.records import Batch

from .side import CLEAN_MARKER, RECOVERY_POINTS, START_OFFSETS, connect, create, data_folder, running

FULL, CUT = "checkpointed", "checkpointed-cut"
FORM = re.compile(r"0\n(\d+)\n((?:[A-Za-z0-9._-]+ \d+ \d+\n)*)")


def tests(suite, target):
    suite.test("checkpoints-as-kafka-writes-them", lambda: compared(target))


def compared(target):
    """What two brokers write at a clean stop after the same appends and the same deletion."""
    written = []
    for kind in (target, Kafka):
        with running(kind) as broker:
            with connect(broker) as client:
                for topic in (FULL, CUT):
                    create(client, topic)
                    client.appended(topic, Batch([b"record"] * 7))
                asked = {"Topics": [{"Name": CUT, "Partitions": [{"PartitionIndex": 0, "Offset": 3}]}], "TimeoutMs": 10_000}
                equal(client.call("DeleteRecords", 2, asked)["Topics"][0]["Partitions"][0]["ErrorCode"], 0, "deletion")
            broker.stop()
            folder, partition = data_folder(broker, FULL), broker.partition_folder(FULL)
            written.append({
                RECOVERY_POINTS: entries(folder / RECOVERY_POINTS),
                START_OFFSETS: entries(folder / START_OFFSETS),
                CLEAN_MARKER: sorted(json.loads((folder / CLEAN_MARKER).read_text())),
                "leader-epoch-checkpoint": (partition / "leader-epoch-checkpoint").read_text(),
                "partition.metadata": re.sub(r"[A-Za-z0-9_-]{22}", "ID", (partition / "partition.metadata").read_text()),
                "files": sorted(path.name for path in partition.iterdir()),
            })
    ours, kafkas = written
    for name, expected in kafkas.items():
        equal(ours[name], expected, name)


def entries(path):
    """The lines about our topics; Kafka has topics of its own."""
    match = FORM.fullmatch(path.read_text())
    assert match, f"{path.name}: {path.read_text()!r}"
    lines = match[2].splitlines()
    equal(int(match[1]), len(lines), f"number of entries of {path.name}")
    return sorted(line for line in lines if line.startswith(FULL))
