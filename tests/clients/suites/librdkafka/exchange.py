"""What one client writes the other reads, byte for byte: Java's half is Exchange.java.

Record n (of 1000, 200 with each codec) has the time START_MS + n; a null key if n is a multiple of 5, else n % 40 bytes; a
null value if n is a multiple of 7, else n % 500 bytes; and n % 4 headers, with null values if n is a multiple of 3.
"""

import subprocess

from harness import prepare
from harness.report import equal

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
RECORDS_EACH = 200
START_MS = 1_700_000_000_000


def tests(suite, cluster):
    suite.test("exchange-java-writes-librdkafka-reads", lambda: java_writes(cluster))
    suite.test("exchange-librdkafka-writes-java-reads", lambda: java_reads(cluster))


def content(seed, size):
    return bytes((seed * 31 + at * 7) & 0xFF for at in range(size))


def record(n):
    headers = [(f"h{at % 2}", None if n % 3 == 0 else content(n + at, at)) for at in range(n % 4)]
    return {"key": None if n % 5 == 0 else content(n, n % 40), "value": None if n % 7 == 0 else content(n + 1, n % 500),
            "headers": headers or None, "timestamp": START_MS + n}


def java(cluster, *arguments):
    command = [*prepare.SHORT_LIVED_JVM, "-cp", prepare.java_suite(), "highwater.suite.Exchange", cluster.bootstrap, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr


def java_writes(cluster):
    topic = cluster.topic("from-java")
    java(cluster, "write", topic)
    for n, message in enumerate(cluster.read(topic, RECORDS_EACH * len(CODECS))):
        found = {"key": message.key(), "value": message.value(), "headers": message.headers(), "timestamp": message.timestamp()[1]}
        equal(found, record(n), f"record {n}")


def java_reads(cluster):
    topic = cluster.topic("from-librdkafka")
    for at, codec in enumerate(CODECS):
        records = [record(n) for n in range(at * RECORDS_EACH, (at + 1) * RECORDS_EACH)]
        cluster.send(topic, [{name: value for name, value in each.items() if value is not None} for each in records], compression_type=codec)
    java(cluster, "read", topic)
