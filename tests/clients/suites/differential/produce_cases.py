"""Produce and InitProducerId."""

from wire.client import produce_body
from wire.records import CODEC_GZIP, CONTROL, LOG_APPEND_TIME, TRANSACTIONAL, Batch

from .case import Step, case, several
from .compare import UNKNOWN_ID
from .side import APPEND_TIME, COMPACTED, PLAIN, SMALL, TWICE, WIDE

TWO_HOURS_MS = 7_200_000
NOBODY = "diff-nobody"


def cases():
    yield from accepted()
    yield from refused_batches()
    yield from refused_requests()
    yield from idempotent()
    yield from init_producer_id()


def request(entries, ids=None, **fields):
    """The same request at every version: by name, and from version 13 on by the topic's id on this side."""

    def body(side, _):
        known = {topic: UNKNOWN_ID for topic, _, _ in entries} | {name: each for each, name in side.ids.items()}
        values = produce_body(entries, ids=known | (ids or {}))
        return values | fields

    return body


def one(about, records, topic=WIDE, partition=0, **fields):
    return case("Produce", about, request([(topic, partition, records)], **fields))


def accepted():
    for acks in (1, -1):
        yield one(f"acks-{acks}", Batch([b"a", b"b"]), Acks=acks)
    yield one("gzip", Batch([b"a"] * 20, attributes=CODEC_GZIP))
    yield one("timeout-0", Batch(), TimeoutMs=0)
    yield one("timeout-negative", Batch(), TimeoutMs=-1)
    yield one("no-timestamp", Batch(base_timestamp=-1, max_timestamp=-1))
    yield one("epoch-as-timestamp", Batch(base_timestamp=0))
    yield one("leader-epoch-in-batch", Batch(leader_epoch=77))
    yield one("log-append-time", Batch([b"a", b"b"]), topic=APPEND_TIME)
    yield one("compacted-with-key", Batch([b"a", None], key=b"key"), topic=COMPACTED)
    yield one("compacted-without-key", Batch([b"a"]), topic=COMPACTED)
    yield one("compacted-without-many-keys", Batch([b"a"] * 5), topic=COMPACTED)
    yield one("compacted-without-key-gzip", Batch([b"a", b"b"], attributes=CODEC_GZIP), topic=COMPACTED)
    yield one("wrong-maximum-timestamp", Batch(max_timestamp=5))
    yield case("Produce", "several-partitions", request([(WIDE, 0, Batch()), (WIDE, 2, Batch()), (PLAIN, 1, Batch())]))
    yield several("Produce", "then-fetched", request([(WIDE, 1, Batch([b"seen again"], base_timestamp=1_700_000_000_000))]),
                  Step("Fetch", lambda side, answers: last_of(WIDE, 1, side), version=12))


def last_of(topic, partition, side):
    asked = {"Partition": partition, "FetchOffset": side.client.end_offset(topic, partition) - 1, "PartitionMaxBytes": 1 << 20}
    return {"MaxWaitMs": 0, "SessionEpoch": -1, "MinBytes": 0, "Topics": [{"Topic": topic, "Partitions": [asked]}]}


def refused_batches():
    # Not among them: records that are null, which Kafka 4.3.1 fails on inside and never answers.
    ahead = Batch([b"a", b"b"])
    ahead.base_timestamp += TWO_HOURS_MS
    for about, batch in (
        ("corrupt", Batch(crc=1)),
        ("base-offset", Batch(base_offset=3)),
        ("count-too-large", Batch(count=2)),
        ("count-negative", Batch(count=-5)),
        ("no-records", Batch([], count=0, last_offset_delta=-1)),
        ("no-records-but-an-offset", Batch([], count=0, last_offset_delta=0)),
        ("fewer-records-than-counted", Batch([b"a"], count=2, last_offset_delta=1)),
        ("more-records-than-counted", Batch([b"a", b"b"], count=1, last_offset_delta=0)),
        ("control", Batch(attributes=CONTROL)),
        ("control-and-transactional", Batch(attributes=CONTROL | TRANSACTIONAL)),
        ("codec-5", Batch(attributes=5)),
        ("codec-7", Batch(attributes=7)),
        ("unused-attribute", Batch(attributes=1 << 8)),
        ("not-gzip", Batch(records=b"these are no compressed bytes", attributes=CODEC_GZIP)),
        ("not-zstd", Batch(records=b"these are no compressed bytes", attributes=4)),
        ("not-lz4", Batch(records=b"these are no compressed bytes", attributes=3)),
        ("not-snappy", Batch(records=b"these are no compressed bytes", attributes=2)),
        ("log-append-time-stated", Batch(attributes=LOG_APPEND_TIME)),
        ("log-append-time-and-no-time", Batch(attributes=LOG_APPEND_TIME, base_timestamp=-1, max_timestamp=-1)),
        ("sequence-without-producer", Batch(sequence=4)),
        ("producer-without-sequence", Batch(producer_id=4, epoch=0)),
        ("producer-without-epoch", Batch(producer_id=40, sequence=0)),
        ("magic-3", Batch(magic=3)),
        ("magic-0", Batch(magic=0)),
        ("time-ahead", ahead),
        ("length-too-large", Batch(length=10_000)),
        ("length-too-small", Batch(length=20)),
        ("length-negative", Batch(length=-1)),
        ("empty", b""),
        ("half-a-head", Batch().encode()[:30]),
        ("two-batches", Batch().encode() * 2),
        ("batch-and-rest", Batch().encode() + b"rest"),
    ):
        yield one(f"batch-{about}", batch)
    yield one("batch-too-large", Batch([bytes(1000)]), topic=SMALL)
    yield one("batch-too-large-and-corrupt", Batch([bytes(1000)], crc=1), topic=SMALL)
    yield one("batch-time-ahead-on-append-time", ahead, topic=APPEND_TIME)
    yield one("batch-log-append-time-on-append-time", Batch(attributes=LOG_APPEND_TIME), topic=APPEND_TIME)


def refused_requests():
    for acks in (2, -2, 100, 32767):
        yield one(f"acks-{acks}", Batch(), Acks=acks)
    yield one("acks-2-and-corrupt", Batch(crc=1), Acks=2)
    yield one("acks-2-and-unknown-topic", Batch(), topic=NOBODY, Acks=2)
    yield one("unknown-topic", Batch(), topic=NOBODY)
    yield one("unknown-topic-and-no-batch", b"", topic=NOBODY)
    yield one("unknown-partition", Batch(), partition=9)
    yield one("negative-partition", Batch(), partition=-1)
    yield one("invalid-topic-name", Batch(), topic="two words")
    yield case("Produce", "zero-id", request([(PLAIN, 0, Batch())], ids={PLAIN: bytes(16)}), lowest=13)
    yield case("Produce", "no-topics", request([]))
    yield case("Produce", "no-partitions", {"Acks": 1, "TimeoutMs": 1000, "TopicData": [{"Name": PLAIN, "PartitionData": []}]}, highest=12)
    yield case("Produce", "each-partition-on-its-own",
               request([(WIDE, 0, Batch(crc=1)), (WIDE, 1, Batch()), (WIDE, 8, Batch()), (NOBODY, 0, Batch()), (SMALL, 0, Batch([bytes(900)]))]))
    yield case("Produce", "partition-twice", request([(TWICE, 0, Batch([b"first"])), (TWICE, 0, Batch([b"second"]))]))
    yield case("Produce", "topic-twice", topic_twice)
    yield one("transactional-batch-without-id", Batch(attributes=TRANSACTIONAL, producer_id=9, epoch=0, sequence=0))


def topic_twice(side, _):
    entry = produce_body([(TWICE, 0, Batch([b"one"]))], ids={TWICE: side.id(TWICE)})
    other = produce_body([(TWICE, 1, Batch([b"two"]))], ids={TWICE: side.id(TWICE)})
    return entry | {"TopicData": entry["TopicData"] + other["TopicData"]}


def idempotent():
    def sequence(about, *batches, acks=-1):
        """Batches as (epoch, first sequence, count), by a producer which the first step asks for."""

        def step(epoch, first, count):
            def body(side, answers):
                values = [b"%d" % (first + i) for i in range(count)]
                batch = Batch(values, producer_id=answers[0]["ProducerId"], epoch=epoch, sequence=first)
                return request([(WIDE, 2, batch)], Acks=acks)(side, None)

            return body

        ask = Step("InitProducerId", {"TransactionalId": None}, version=0)
        return several("Produce", f"producer-{about}", ask, *[step(*batch) for batch in batches])

    yield sequence("in-order", (0, 0, 1), (0, 1, 2), (0, 3, 1))
    yield sequence("duplicate", (0, 0, 2), (0, 0, 2), (0, 2, 1), (0, 0, 2))
    yield sequence("duplicate-acks-1", (0, 0, 2), (0, 0, 2), acks=1)
    yield sequence("gap", (0, 0, 1), (0, 2, 1), (0, 1, 1))
    yield sequence("overlap", (0, 0, 4), (0, 2, 4), (0, 0, 3), (0, 4, 1))
    yield sequence("old-epoch", (5, 0, 1), (4, 1, 1), (4, 0, 1), (5, 1, 1))
    yield sequence("new-epoch-not-at-zero", (0, 0, 1), (1, 1, 1), (1, 0, 1), (0, 1, 1))
    yield sequence("out-of-window", *[(0, at, 1) for at in range(7)], (0, 0, 1), (0, 1, 1), (0, 2, 1), (0, 6, 1))
    yield sequence("wrap", (0, 0, 1), (1, 0, 1), (1, 2147483647, 2))


def init_producer_id():
    def ask(about, lowest=0, **fields):
        return case("InitProducerId", about, {"TransactionalId": None, "TransactionTimeoutMs": 60_000, **fields}, lowest)

    yield ask("plain")
    yield ask("no-timeout", TransactionTimeoutMs=0)
    yield ask("negative-timeout", TransactionTimeoutMs=-1)
    yield ask("empty-transactional-id", TransactionalId="")
    yield ask("producer-without-epoch", lowest=3, ProducerId=5)
    yield ask("epoch-without-producer", lowest=3, ProducerEpoch=5)
    yield ask("producer-and-epoch", lowest=3, ProducerId=5, ProducerEpoch=2)
