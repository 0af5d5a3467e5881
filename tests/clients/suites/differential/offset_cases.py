"""ListOffsets and OffsetForLeaderEpoch."""

from .case import case
from .side import APPEND_TIME, EMPTY, PLAIN, PLAIN_BATCHES, RECORD_TIME_MS, WIDE

NOBODY = "diff-nobody"


def cases():
    yield from list_offsets()
    yield from offset_for_leader_epoch()


def list_offsets():
    def ask(about, *entries, lowest=0, **fields):
        """Entries are (topic, partition, fields)."""
        topics = {}
        for topic, partition, more in entries:
            topics.setdefault(topic, []).append({"PartitionIndex": partition, "Timestamp": -1, **more})
        found = [{"Name": name, "Partitions": parts} for name, parts in topics.items()]
        return case("ListOffsets", about, {"ReplicaId": -1, "Topics": found, **fields}, lowest)

    for special in (*range(-1, -9, -1), -100, -2**63):
        yield ask(f"special-{special}", (PLAIN, 0, {"Timestamp": special}))
        yield ask(f"special-{special}-of-empty", (EMPTY, 0, {"Timestamp": special}))
    for about, time in (("zero", 0), ("first", RECORD_TIME_MS), ("after-first", RECORD_TIME_MS + 1), ("within", RECORD_TIME_MS + 1015),
                        ("largest-of-a-batch", RECORD_TIME_MS + 2020), ("between", RECORD_TIME_MS + 2500),
                        ("last", RECORD_TIME_MS + 1000 * (PLAIN_BATCHES - 1) + 20), ("after-last", RECORD_TIME_MS + 1000 * PLAIN_BATCHES),
                        ("far", 2**63 - 1)):
        yield ask(f"time-{about}", (PLAIN, 0, {"Timestamp": time}))
    yield ask("time-of-empty", (EMPTY, 0, {"Timestamp": 0}))
    yield ask("unknown-topic", (NOBODY, 0, {}))
    yield ask("unknown-partition", (PLAIN, 5, {}))
    yield ask("negative-partition", (PLAIN, -1, {}))
    yield ask("unknown-topic-unknown-special", (NOBODY, 0, {"Timestamp": -77}))
    yield ask("invalid-name", ("two words", 0, {}))
    yield ask("several", (PLAIN, 0, {}), (WIDE, 0, {"Timestamp": -2}), (WIDE, 2, {"Timestamp": -2}), (NOBODY, 0, {}), (WIDE, 9, {}))
    yield ask("partition-twice", (PLAIN, 0, {"Timestamp": -1}), (PLAIN, 0, {"Timestamp": -2}))
    yield ask("partition-twice-and-another", (PLAIN, 0, {"Timestamp": -1}), (PLAIN, 0, {"Timestamp": -1}), (EMPTY, 0, {}))
    yield ask("nothing")
    for level in (0, 1, 2):
        yield ask(f"isolation-{level}", (PLAIN, 0, {}), lowest=2, IsolationLevel=level)
    for epoch in (-1, 0, 1, -7):
        yield ask(f"leader-epoch-{epoch}", (PLAIN, 0, {"CurrentLeaderEpoch": epoch}), lowest=4)
        yield ask(f"leader-epoch-{epoch}-earliest", (PLAIN, 0, {"CurrentLeaderEpoch": epoch, "Timestamp": -2}), lowest=4)
    for replica in (-2, 0, 5):
        yield ask(f"replica-{replica}", (PLAIN, 0, {}), ReplicaId=replica)
    yield ask("timeout-0", (PLAIN, 0, {}), lowest=10, TimeoutMs=0)
    yield ask("earliest-of-append-time", (APPEND_TIME, 0, {"Timestamp": -2}))


def offset_for_leader_epoch():
    def ask(about, *entries, lowest=0, **fields):
        topics = {}
        for topic, partition, more in entries:
            topics.setdefault(topic, []).append({"Partition": partition, "LeaderEpoch": 0, **more})
        found = [{"Topic": name, "Partitions": parts} for name, parts in topics.items()]
        return case("OffsetForLeaderEpoch", about, {"ReplicaId": -1, "Topics": found, **fields}, lowest)

    for epoch in (-2, -1, 0, 1, 9):
        yield ask(f"epoch-{epoch}", (PLAIN, 0, {"LeaderEpoch": epoch}))
        yield ask(f"epoch-{epoch}-of-empty", (EMPTY, 0, {"LeaderEpoch": epoch}))
    for current in (-1, 0, 1, -5):
        yield ask(f"current-epoch-{current}", (PLAIN, 0, {"CurrentLeaderEpoch": current}))
    yield ask("unknown-topic", (NOBODY, 0, {}))
    yield ask("unknown-partition", (PLAIN, 5, {}))
    yield ask("several", (PLAIN, 0, {}), (WIDE, 1, {}), (WIDE, 7, {}), (NOBODY, 1, {}))
    yield ask("partition-twice", (PLAIN, 0, {}), (PLAIN, 0, {"LeaderEpoch": 3}))
    yield ask("nothing")
    for replica in (-2, 0, 5):
        yield ask(f"replica-{replica}", (PLAIN, 0, {}), lowest=3, ReplicaId=replica)
