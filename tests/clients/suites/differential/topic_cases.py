"""CreateTopics, DeleteTopics, topics created by asking for them, FindCoordinator."""

from .case import Step, case, several
from .compare import UNKNOWN_ID
from .side import EMPTY, PLAIN, until

GROUP, TRANSACTION, SHARE = 0, 1, 2
COORDINATOR_NOT_AVAILABLE = 15


def cases():
    yield from create()
    yield from delete()
    yield from auto_create()
    yield from find_coordinator()


def topic(name, partitions=1, replication=1, configs=(), assignments=()):
    return {"Name": name, "NumPartitions": partitions, "ReplicationFactor": replication,
            "Assignments": [{"PartitionIndex": at, "BrokerIds": brokers} for at, brokers in assignments],
            "Configs": [{"Name": key, "Value": value} for key, value in configs]}


def create():
    def validate(about, *topics, lowest=0, **fields):
        return case("CreateTopics", about, {"Topics": list(topics), "timeoutMs": 10_000, "validateOnly": True, **fields}, lowest)

    yield validate("validate", topic("diff-valid", 3))
    yield validate("defaults", topic("diff-valid", -1, -1), lowest=4)
    yield validate("exists", topic(PLAIN))
    for partitions in (0, -1, -2, 2**31 - 1):
        yield validate(f"partitions-{partitions}", topic("diff-valid", partitions), lowest=0 if partitions != -1 else 4)
    for replication in (0, -2, 2, 32767):
        yield validate(f"replication-{replication}", topic("diff-valid", 1, replication))
    yield validate("invalid-name-and-partitions", topic("two words", 0))
    for about, name in (("space", "two words"), ("empty", ""), ("dot", "."), ("dots", ".."), ("long", "x" * 250), ("longest", "x" * 249), ("slash", "a/b")):
        yield validate(f"name-{about}", topic(name))
    yield validate("assigned", topic("diff-valid", -1, -1, assignments=[(0, [0]), (1, [0])]))
    yield validate("assigned-and-counted", topic("diff-valid", 1, -1, assignments=[(0, [0])]))
    yield validate("assigned-and-replicated", topic("diff-valid", -1, 1, assignments=[(0, [0])]))
    yield validate("assigned-to-unknown", topic("diff-valid", -1, -1, assignments=[(0, [7])]))
    yield validate("assigned-twice", topic("diff-valid", -1, -1, assignments=[(0, [0]), (0, [0])]))
    yield validate("assigned-to-one-twice", topic("diff-valid", -1, -1, assignments=[(0, [0, 0])]))
    yield validate("assigned-to-none", topic("diff-valid", -1, -1, assignments=[(0, [])]))
    yield validate("assigned-with-a-gap", topic("diff-valid", -1, -1, assignments=[(0, [0]), (2, [0])]))
    yield validate("assigned-from-1", topic("diff-valid", -1, -1, assignments=[(1, [0])]))
    yield validate("assigned-unevenly", topic("diff-valid", -1, -1, assignments=[(0, [0]), (1, [0, 7])]))
    for about, key, value in (
        ("unknown", "no.such.setting", "1"), ("null", "segment.bytes", None), ("not-a-number", "segment.bytes", "large"), ("empty", "segment.bytes", ""),
        ("too-small", "segment.bytes", "10"), ("smallest", "segment.bytes", "1048576"), ("negative", "max.message.bytes", "-1"),
        ("codec", "compression.type", "zip"), ("uncompressed", "compression.type", "uncompressed"), 
        ("time-type", "message.timestamp.type", "Never"), ("space", "segment.bytes", " 2000000 "), ("minimum-in-sync", "min.insync.replicas", "0"),
        ("minimum-in-sync-2", "min.insync.replicas", "2"),         ("number-too-large", "segment.bytes", "99999999999"),
        ("policy", "cleanup.policy", "compact"), ("policy-delete", "cleanup.policy", "delete"), ("policy-spaced", "cleanup.policy", " delete "),
        ("policy-twice", "cleanup.policy", "delete,delete"), ("policy-empty", "cleanup.policy", ""), ("policy-both", "cleanup.policy", "compact,delete"),
        ("ratio", "min.cleanable.dirty.ratio", "0.25"), ("ratio-too-large", "min.cleanable.dirty.ratio", "1.5"),
        ("ratio-negative", "min.cleanable.dirty.ratio", "-0.5"), ("ratio-not-a-number", "min.cleanable.dirty.ratio", "half"),
        ("lag", "min.compaction.lag.ms", "1000"), ("lag-negative", "min.compaction.lag.ms", "-1"), ("longest-lag-zero", "max.compaction.lag.ms", "0"),
        ("tombstones", "delete.retention.ms", "0"), ("tombstones-negative", "delete.retention.ms", "-1"),
        ("policy-unknown", "cleanup.policy", "keep"),
        ("retention", "retention.ms", "5000"), ("retention-for-ever", "retention.ms", "-1"), ("retention-negative", "retention.ms", "-2"),
        ("retention-zero", "retention.ms", "0"), ("retention-days", "retention.ms", "7d"), ("retention-bytes", "retention.bytes", "1000"),
        ("retention-bytes-none", "retention.bytes", "-1"), ("retention-bytes-negative", "retention.bytes", "-5"),
        ("delay", "file.delete.delay.ms", "0"), ("delay-negative", "file.delete.delay.ms", "-1"),
        ("flush", "flush.messages", "1"), ("flush-zero", "flush.messages", "0"), ("flush-ms", "flush.ms", "0"), ("flush-ms-negative", "flush.ms", "-1"),
    ):
        yield validate(f"config-{about}", topic("diff-valid", configs=[(key, value)]))
    lags = [("min.compaction.lag.ms", "11"), ("max.compaction.lag.ms", "10")]
    yield validate("config-lags-in-conflict", topic("diff-valid", configs=lags))
    yield validate("config-twice", topic("diff-valid", configs=[("segment.bytes", "1048576"), ("segment.bytes", "2000000")]))
    yield validate("twice", topic("diff-valid"), topic("diff-valid", 2))
    yield validate("twice-and-another", topic("diff-valid"), topic("diff-valid"), topic("diff-other"))
    yield validate("several", topic("diff-valid"), topic(PLAIN), topic("two words"), topic("diff-other", 0))
    yield validate("collides", topic("diff-a.b"), topic("diff-a_b"))
    yield validate("nothing")
    yield validate("internal", topic("__consumer_offsets"))
    yield validate("cluster-metadata", topic("__cluster_metadata"))
    created = {"Topics": [topic("diff-created", 2, configs=[("segment.bytes", "2000000")]), topic("two words")], "timeoutMs": 10_000}
    yield several("CreateTopics", "created-and-deleted", created, learned("diff-created"), created,
                  Step("DeleteTopics", {"TopicNames": ["diff-created"], "TimeoutMs": 10_000}, version=4), gone("diff-created"))


def learned(name):
    """Waits until the topic is there, and keeps its id."""

    def body(side, _):
        side.client.await_topic(name)
        side.learn(name)
        return {"Topics": [{"Name": name}], "AllowAutoTopicCreation": False}

    return Step("Metadata", body, version=12)


def gone(name):
    def body(side, _):
        asked = {"Topics": [{"Name": name}], "AllowAutoTopicCreation": False}
        until(side, lambda side: side.client.call("Metadata", 9, asked)["Topics"][0]["ErrorCode"] == 3)
        return asked

    return Step("Metadata", body, version=12)


def delete():
    def names(about, *given, lowest=0, **fields):
        return case("DeleteTopics", about, {"TopicNames": list(given), "Topics": [{"Name": name} for name in given], "TimeoutMs": 10_000, **fields}, lowest)

    def by(about, *entries, known=None):
        """Entries are (name, id or the name of a topic here)."""

        def body(side, _):
            found = [{"Name": name, "TopicId": side.id(which) if isinstance(which, str) else which} for name, which in entries]
            return {"Topics": found, "TimeoutMs": 10_000}

        return case("DeleteTopics", about, body, lowest=6)

    yield names("unknown", "diff-nobody")
    yield names("invalid-name", "two words")
    yield names("empty-name", "")
    yield names("unknown-twice", "diff-nobody", "diff-nobody")
    yield names("known-twice", EMPTY, EMPTY)
    yield names("nothing")
    yield names("timeout-0", "diff-nobody", TimeoutMs=0)
    yield by("unknown-id", (None, UNKNOWN_ID))
    yield by("neither", (None, bytes(16)))
    yield by("name-and-id", (EMPTY, EMPTY))
    yield by("unknown-id-twice", (None, UNKNOWN_ID), (None, UNKNOWN_ID))
    yield by("name-and-its-id-apart", (EMPTY, bytes(16)), (None, EMPTY))
    made = Step("CreateTopics", {"Topics": [topic("diff-deleted")], "timeoutMs": 10_000}, version=5)

    both = ["diff-deleted", "diff-nobody"]
    asked = {"TopicNames": both, "Topics": [{"Name": name} for name in both], "TimeoutMs": 10_000}
    yield several("DeleteTopics", "known", made, learned("diff-deleted"), asked, gone("diff-deleted"))
    yield several("DeleteTopics", "known-by-id", made, learned("diff-deleted"),
                  lambda side, _: {"Topics": [{"Name": None, "TopicId": side.id("diff-deleted")}], "TimeoutMs": 10_000},
                  gone("diff-deleted"), lowest=6)


def auto_create():
    """Version by version, as each makes a topic."""
    for version in (1, 4, 9, 12, 13):
        name = f"diff-auto-{version}"
        asked = {"Topics": [{"Name": name}], "AllowAutoTopicCreation": True}
        yield several("Metadata", f"creates-{version}", asked, learned(name), lowest=version, highest=version)


def find_coordinator():
    def keys(about, *given, key_type=GROUP, lowest=0, highest=32767):
        fields = {"KeyType": key_type, "Key": given[0] if given else "", "CoordinatorKeys": list(given)}

        def body(side, _):
            # The first who asks makes Kafka create the topic the coordinators live in, which takes a while.
            first = {"KeyType": key_type, "CoordinatorKeys": ["warm"]}
            if key_type in (GROUP, TRANSACTION):
                until(side, lambda side: side.client.call("FindCoordinator", 4, first)["Coordinators"][0]["ErrorCode"] != COORDINATOR_NOT_AVAILABLE)
            return fields

        return case("FindCoordinator", about, body, lowest, highest)

    yield keys("group", "group-1")
    yield keys("groups", "group-1", "group-2", "group-1", lowest=4)
    yield keys("empty-group", "")
    yield keys("nothing", lowest=4)
    yield keys("transaction", "transaction-1", key_type=TRANSACTION, lowest=1)
    yield keys("empty-transaction", "", key_type=TRANSACTION, lowest=1)
    yield keys("share", "group:AAAAAAAAAAAAAAAAAAAAAQ:0", key_type=SHARE, lowest=1)
    yield keys("type-7", "x", key_type=7, lowest=1)
    yield keys("type-negative", "x", key_type=-1, lowest=1)
