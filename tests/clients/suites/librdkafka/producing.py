"""Appends: acknowledgements, idempotence, codecs, every shape and size of record."""

from confluent_kafka import KafkaError, KafkaException

from harness.report import equal

from .cluster import check_same, mixed, noise

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
# A batch of one record with null key: see SizeTests.java for the sum.
LARGEST_VALUE_BYTES = 1_048_588 - 72
VOLUME = 100_000


def tests(suite, cluster):
    for acks in (0, 1, -1):
        suite.test(f"produce-acks-{acks}", lambda acks=acks: round_trip(cluster, "acks", mixed(500), acks=acks))
    suite.test("produce-idempotent", lambda: idempotent(cluster))
    for codec in CODECS:
        suite.test(f"produce-compression-{codec}",
                   lambda codec=codec: round_trip(cluster, codec, mixed(1000), compression_type=codec, enable_idempotence=True))
    suite.test("record-null-and-empty-keys-and-values", lambda: nulls(cluster))
    suite.test("record-headers", lambda: headers(cluster))
    suite.test("size-one-byte-to-one-million", lambda: sizes(cluster))
    suite.test("size-largest-that-fits-and-one-byte-more", lambda: largest(cluster))
    suite.test("produce-to-a-topic-not-there-yet", lambda: auto_created(cluster))
    suite.test("volume-100k-records-in-order", lambda: volume(cluster))


def round_trip(cluster, about, records, **settings):
    topic = cluster.topic(about)
    told = cluster.send(topic, records, **settings)
    check_same(cluster.read(topic, len(records)), records, told)


def idempotent(cluster):
    # Small batches, so that five requests are in flight nearly always.
    round_trip(cluster, "idempotent", mixed(5000), enable_idempotence=True, linger_ms=0, batch_num_messages=10)


def nulls(cluster):
    shapes = [None, b"", b"x", b"\0", noise(1, 300)]
    records = [{"key": key, "value": value} for key in shapes for value in shapes]
    for codec in ("none", "lz4"):
        round_trip(cluster, "nulls", records, compression_type=codec)


def headers(cluster):
    records = [
        {"value": b"two", "headers": [("a", b"1"), ("b", b"2")]},
        {"value": b"duplicates", "headers": [("a", b"2"), ("a", b"1"), ("b", b"0"), ("a", b"1")]},
        {"value": b"none"},
        {"value": None, "headers": [("null", None), ("empty", b""), ("null", None)]},
        {"value": b"long", "headers": [("ключ-鍵", noise(4, 5000)), ("k" * 3000, b"long name")]},
        {"value": b"many", "headers": [(f"h{at}", noise(at, at % 40)) for at in range(1000)]},
    ]
    for codec in ("none", "gzip"):
        round_trip(cluster, "headers", records, compression_type=codec)


def sizes(cluster):
    around = (1, 63, 64, 127, 128, 1000, 4096, 8192, 16384, 65536, 131072, 500_000, 1_000_000)
    records = [{"key": noise(size, 9), "value": noise(by, size + by)} for size in around for by in (-1, 0, 1)]
    round_trip(cluster, "sizes", records, message_max_bytes=3_000_000)


def largest(cluster):
    topic = cluster.topic("largest")
    for acks in (1, -1):
        settings = {"message_max_bytes": 3_000_000, "acks": acks, "enable_idempotence": acks == -1}
        try:
            cluster.send(topic, [{"value": noise(2, LARGEST_VALUE_BYTES + 1)}], **settings)
            raise AssertionError("one byte too many was taken")
        except KafkaException as error:
            equal(error.args[0].code(), KafkaError.MSG_SIZE_TOO_LARGE, f"error ({error.args[0]})")
        fits = [{"value": noise(1, LARGEST_VALUE_BYTES)}]
        told = cluster.send(topic, fits, **settings)
        check_same(cluster.read(topic, 1, offset=told[0].offset()), fits, told)


def auto_created(cluster):
    topic = cluster.fresh_name("auto")
    told = cluster.send(topic, [{"value": b"first"}])
    equal(told[0].offset(), 0, "offset")
    equal(cluster.read(topic, 1)[0].value(), b"first", "value")


def volume(cluster):
    topic = cluster.topic("volume")
    records = [{"value": b"%040d" % at} for at in range(VOLUME)]
    told = cluster.send(topic, records, enable_idempotence=True)
    equal([each.offset() for each in told], list(range(VOLUME)), "offsets told")
    read = cluster.read(topic, VOLUME)
    for at, message in enumerate(read):
        assert (message.offset(), message.value()) == (at, records[at]["value"]), f"record {at}: {message.offset()} {message.value()}"
