"""Batches a broker must refuse, each with Kafka's own code, and none of them in the log afterwards."""

import struct
import time

from harness.report import equal
from wire.client import PRODUCE, produce_body
from wire.records import CODEC_GZIP, CONTROL, LOG_APPEND_TIME, Batch, record

CORRUPT_MESSAGE, UNKNOWN_TOPIC_OR_PARTITION, MESSAGE_TOO_LARGE, INVALID_REQUIRED_ACKS = 2, 3, 10, 21
INVALID_TIMESTAMP, UNSUPPORTED_COMPRESSION, INVALID_RECORD, UNKNOWN_TOPIC_ID = 32, 76, 87, 100
TWO_HOURS_MS = 7_200_000
RESERVED_CODEC = 5


def tests(suite, world):
    def refusal(name, code, records, **settings):
        suite.test(f"refused-{name}", lambda: refused(world, name, code, records, settings))

    refusal("corrupt-crc", CORRUPT_MESSAGE, Batch(crc=12345))
    refusal("flipped-bit-in-a-record", CORRUPT_MESSAGE, flipped())
    refusal("base-offset-not-zero", INVALID_RECORD, Batch(base_offset=5))
    refusal("count-larger-than-offsets", INVALID_RECORD, Batch(values=[b"a", b"b"], count=3))
    refusal("count-smaller-than-offsets", INVALID_RECORD, Batch(values=[b"a", b"b"], count=1))
    refusal("count-zero", INVALID_RECORD, Batch(values=[], count=0, last_offset_delta=0))
    refusal("count-negative", INVALID_RECORD, Batch(count=-1))
    refusal("count-beyond-the-records", INVALID_RECORD, Batch(values=[b"a"], count=2, last_offset_delta=1))
    refusal("last-offset-negative", INVALID_RECORD, Batch(last_offset_delta=-1))
    refusal("control-batch", INVALID_RECORD, Batch(attributes=CONTROL))
    refusal("two-batches", INVALID_RECORD, Batch().encode() + Batch().encode())
    refusal("no-batch", INVALID_RECORD, b"")
    refusal("magic-1", INVALID_RECORD, magic_one())
    refusal("producer-without-sequence", INVALID_RECORD, Batch(producer_id=9, epoch=0, sequence=-1))
    refusal("too-far-ahead", INVALID_TIMESTAMP, Batch(base_timestamp=int(time.time() * 1000) + TWO_HOURS_MS))
    refusal("log-append-time-without-time", INVALID_TIMESTAMP, Batch(attributes=LOG_APPEND_TIME, base_timestamp=-1, max_timestamp=-1))
    refusal("larger-than-the-topic-takes", MESSAGE_TOO_LARGE, Batch(values=[bytes(2000)]), max_message_bytes=1000)
    refusal("one-byte-larger-than-the-topic-takes", MESSAGE_TOO_LARGE, Batch(values=[bytes(100)]),
            max_message_bytes=len(Batch(values=[bytes(100)]).encode()) - 1)
    suite.test("accepted-exactly-as-large-as-the-topic-takes", lambda: exactly_as_large(world))
    suite.test("refused-acks-2", lambda: invalid_acks(world))
    suite.test("refused-one-partition-does-not-touch-another", lambda: independent(world))
    suite.test("refused-unknown-topics-and-ids", lambda: unknown(world))
    suite.test("refused-zstd-before-version-7", lambda: zstd_too_early(world))
    suite.test("refused-at-acks-0-closes-the-connection", lambda: refused_silently(world))
    suite.test("refused-hostile-lengths-inside-records", lambda: hostile(world))
    suite.test("stored-bytes-are-the-bytes-sent", lambda: stored_as_sent(world))
    suite.test("stored-maximum-timestamp-is-the-records", lambda: true_maximum(world))


def flipped():
    data = bytearray(Batch(values=[b"some value"]).encode())
    data[-4] ^= 1
    return bytes(data)


def magic_one():
    """A message of the old format, whole and with a right-looking head; only its magic is looked at."""
    body = struct.pack(">BBq", 1, 0, 0) + struct.pack(">i", -1) + struct.pack(">i", 5) + b"value"
    return struct.pack(">qiI", 0, len(body) + 4, 0) + body


def refused(world, name, code, records, settings):
    with world.client() as client:
        topic = client.create_topic(name, **{key: str(value) for key, value in settings.items()})
        answer = client.produce(topic, records)
        equal((answer["ErrorCode"], answer["BaseOffset"]), (code, -1), "(error, base offset)")
        equal(client.end_offset(topic), 0, "end of the log")
        equal(client.appended(topic, Batch([b"fine"])), 0, "the next batch")


def exactly_as_large(world):
    batch = Batch(values=[bytes(100)])
    with world.client() as client:
        topic = client.create_topic("exact", max_message_bytes=str(len(batch.encode())))
        equal(client.appended(topic, batch), 0, "base offset")


def invalid_acks(world):
    with world.client() as client:
        topic = client.create_topic("acks")
        for acks in (2, -2, 3, 32767, -32768):
            answer = client.produce(topic, Batch(), acks=acks)
            equal((answer["ErrorCode"], answer["BaseOffset"]), (INVALID_REQUIRED_ACKS, -1), f"(error, base offset) at acks={acks}")
        equal(client.end_offset(topic), 0, "end of the log")
        # A partition that is not there is noticed first.
        equal(client.produce("raw-nowhere", Batch(), acks=2)["ErrorCode"], UNKNOWN_TOPIC_OR_PARTITION, "an unknown topic at acks=2")


def independent(world):
    with world.client() as client:
        topic = client.create_topic("independent", partitions=3)
        entries = [(topic, 0, Batch()), (topic, 1, Batch(crc=1)), (topic, 2, Batch(base_offset=1)), (topic, 7, Batch()),
                   ("raw-nowhere", 0, Batch())]
        answer = client.call("Produce", PRODUCE, produce_body(entries))
        found = {(each["Name"], part["Index"]): part["ErrorCode"] for each in answer["Responses"] for part in each["PartitionResponses"]}
        expected = {(topic, 0): 0, (topic, 1): CORRUPT_MESSAGE, (topic, 2): INVALID_RECORD,
                    (topic, 7): UNKNOWN_TOPIC_OR_PARTITION, ("raw-nowhere", 0): UNKNOWN_TOPIC_OR_PARTITION}
        equal(found, expected, "errors")
        equal([client.end_offset(topic, partition) for partition in range(3)], [1, 0, 0], "ends of the logs")


def unknown(world):
    with world.client() as client:
        topic = client.create_topic("known")
        equal(client.produce(topic, Batch(), partition=1)["ErrorCode"], UNKNOWN_TOPIC_OR_PARTITION, "partition 1 of 1")
        equal(client.produce(topic, Batch(), partition=-1)["ErrorCode"], UNKNOWN_TOPIC_OR_PARTITION, "partition -1")
        for topic_id, code in ((bytes(range(16)), UNKNOWN_TOPIC_ID), (client.topic_id(topic), 0)):
            asked = produce_body([(topic, 0, Batch())], ids={topic: topic_id})
            answer = client.call("Produce", 13, asked)["Responses"][0]
            equal(answer["TopicId"], topic_id, "topic id in the answer")
            equal(answer["PartitionResponses"][0]["ErrorCode"], code, f"error for id {topic_id.hex()}")


def zstd_too_early(world):
    with world.client() as client:
        topic = client.create_topic("zstd")
        for version in (3, 6):
            answer = client.call("Produce", version, produce_body([(topic, 0, Batch(attributes=4))]))
            equal(answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"], UNSUPPORTED_COMPRESSION, f"error at version {version}")
        equal(client.end_offset(topic), 0, "end of the log")


def refused_silently(world):
    with world.client() as client:
        topic = client.create_topic("silent")
        for records in (Batch(crc=1), Batch(base_offset=1)):
            with world.client() as careless:
                careless.send("Produce", PRODUCE, produce_body([(topic, 0, records)], acks=0))
                assert careless.closed_by_broker()
        with world.client() as careless:
            careless.send("Produce", PRODUCE, produce_body([("raw-nowhere", 0, Batch())], acks=0))
            assert careless.closed_by_broker()
        equal(client.end_offset(topic), 0, "end of the log")


def hostile(world):
    """Lengths and counts that promise more than there is, with a CRC that fits: refused, at no cost, and the broker lives."""
    huge = bytes([0xFE, 0xFF, 0xFF, 0xFF, 0x0F])
    inner = [
        huge + b"\0" * 10,
        record(0, b"value") [:-1] + b"\x02",
        bytes([12, 0, 0, 0]) + huge + b"abcdef",
        bytes([0x80] * 12),
        b"\x01\x00",
        b"",
        bytes([20, 0, 0, 0, 1, 2]) + b"x" + huge + b"abcdef",
    ]
    with world.client() as client:
        topic = client.create_topic("hostile")
        for number, content in enumerate(inner):
            for attributes in (0, CODEC_GZIP, 2, 3, 4, RESERVED_CODEC, 7):
                answer = client.produce(topic, Batch(records=content, attributes=attributes))
                assert answer["ErrorCode"] != 0, f"content {number} with codec {attributes} was taken"
                equal(answer["BaseOffset"], -1, f"base offset of content {number} with codec {attributes}")
        for length in (-1, 0, 13, 48, 2**31 - 1):
            answer = client.produce(topic, Batch(length=length))
            assert answer["ErrorCode"] != 0, f"a batch of length {length} was taken"
        for cut in (1, 11, 12, 16, 17, 60):
            answer = client.produce(topic, Batch().encode()[:cut])
            assert answer["ErrorCode"] != 0, f"the first {cut} bytes of a batch were taken"
        equal(client.end_offset(topic), 0, "end of the log")
        equal(client.appended(topic, Batch()), 0, "a batch that is right")


def stored_as_sent(world):
    """All but base offset and leader epoch, which the CRC leaves out for this very reason."""
    with world.client() as client:
        topic = client.create_topic("stored")
        sent = [Batch(values=[b"a", b"b" * 300], key=b"k"), Batch(values=[b"c"] * 40, attributes=CODEC_GZIP),
                Batch(values=[b"d"], producer_id=client.producer_id(), epoch=0, sequence=0)]
        offsets = [client.appended(topic, batch) for batch in sent]
        equal(offsets, [0, 2, 42], "base offsets")
        for batch, (base, _, stored), offset in zip(sent, client.log(topic), offsets, strict=True):
            equal(base, offset, "base offset stored")
            equal(stored[8:12] + stored[16:], batch.encode()[8:12] + batch.encode()[16:], f"bytes of the batch at {offset}")
            equal(struct.unpack(">i", stored[12:16])[0], 0, "leader epoch stored")


def true_maximum(world):
    """A producer that states a wrong maximum is corrected, CRC and all: look-ups by time rest on it."""
    with world.client() as client:
        topic = client.create_topic("maximum")
        for codec in (0, CODEC_GZIP):
            stated = Batch(values=[b"a", b"b", b"c"], time_deltas=[0, 500, 200], max_timestamp=42, attributes=codec)
            client.appended(topic, stated)
            stored = client.log(topic)[-1][2]
            right = Batch(values=[b"a", b"b", b"c"], time_deltas=[0, 500, 200], attributes=codec).encode()
            equal(stored[16:61], right[16:61], "the head stored")
