"""DeleteRecords, and what others answer of records that are gone."""

from wire.client import produce_body

from .case import Step, case, several
from .side import COMPACTED, DELETED, DELETED_RECORDS, DELETED_TO, EMPTY, PLAIN, WIDE

NOBODY = "diff-nobody"
END = -1


def cases():
    yield from refusals()
    yield from deletions()
    yield from afterwards()


def asked(*entries):
    """Entries are (topic, partition, offset)."""
    topics = {}
    for topic, partition, offset in entries:
        topics.setdefault(topic, []).append({"PartitionIndex": partition, "Offset": offset})
    return {"TimeoutMs": 10_000, "Topics": [{"Name": name, "Partitions": parts} for name, parts in topics.items()]}


def refusals():
    def ask(about, *entries, **fields):
        return case("DeleteRecords", about, asked(*entries) | fields)

    yield ask("past-the-end", (PLAIN, 0, 1000))
    yield ask("negative", (PLAIN, 0, -2))
    yield ask("smallest", (PLAIN, 0, -2**63))
    yield ask("largest", (PLAIN, 0, 2**63 - 1))
    yield ask("compacted", (COMPACTED, 0, 0))
    yield ask("compacted-past-the-end", (COMPACTED, 0, 1000))
    yield ask("unknown-topic", (NOBODY, 0, 0))
    yield ask("unknown-partition", (PLAIN, 7, 0))
    yield ask("negative-partition", (PLAIN, -1, 0))
    yield ask("empty-name", ("", 0, 0))
    yield ask("invalid-name", ("two words", 0, 0))
    yield ask("nothing")
    yield ask("no-partitions", Topics=[{"Name": PLAIN, "Partitions": []}])
    yield ask("good-and-bad", (WIDE, 0, 0), (WIDE, 1, 1000), (NOBODY, 0, 0), (WIDE, 9, 0))
    yield ask("partition-twice", (PLAIN, 0, 0), (PLAIN, 0, 1000))
    yield ask("timeout-0", (PLAIN, 0, 0), TimeoutMs=0)
    yield ask("timeout-negative", (PLAIN, 0, 0), TimeoutMs=-1)


def deletions():
    yield case("DeleteRecords", "at-the-start", asked((PLAIN, 0, 0)))
    yield case("DeleteRecords", "to-the-end-of-empty", asked((EMPTY, 0, END)))
    yield case("DeleteRecords", "empty-past-the-end", asked((EMPTY, 0, 1)))
    yield case("DeleteRecords", "again", asked((DELETED, 0, DELETED_TO)))
    yield case("DeleteRecords", "below-the-start", asked((DELETED, 0, 1)))
    append = Step("Produce", lambda side, _: produce_body([(DELETED, 1, side.batch())]), version=12)
    yield several("DeleteRecords", "to-the-end", append, asked((DELETED, 1, END)), append, asked((DELETED, 1, END)))


def afterwards():
    """Of a partition whose first records are gone, within a batch."""

    def fetch(offset):
        part = {"Partition": 0, "FetchOffset": offset, "PartitionMaxBytes": 1 << 20}
        return lambda side, _: {"MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1 << 24, "SessionEpoch": -1,
                                "Topics": [{"Topic": DELETED, "TopicId": side.id(DELETED), "Partitions": [part]}]}

    for offset in (0, DELETED_TO - 1, DELETED_TO, DELETED_TO + 1, DELETED_RECORDS, DELETED_RECORDS + 1):
        yield case("Fetch", f"of-deleted-{offset}", fetch(offset))
    for about, time in (("latest", -1), ("earliest", -2), ("largest", -3), ("local", -4), ("first", 0)):
        part = {"PartitionIndex": 0, "Timestamp": time}
        yield case("ListOffsets", f"of-deleted-{about}", {"ReplicaId": -1, "Topics": [{"Name": DELETED, "Partitions": [part]}]})
    for epoch in (0, 1):
        part = {"Partition": 0, "CurrentLeaderEpoch": -1, "LeaderEpoch": epoch}
        yield case("OffsetForLeaderEpoch", f"of-deleted-{epoch}", {"ReplicaId": -2, "Topics": [{"Topic": DELETED, "Partitions": [part]}]})
