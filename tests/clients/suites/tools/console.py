"""The console producer and consumer, get-offsets and producer-perf-test."""

import re

from harness.report import equal

# key.separator and headers.delimiter are tabs in both tools.
LINES = [
    ("h1:v1,h2:v2", "key-1", "value one"),
    ("h1:a,h1:b,h1:a", "key-2", "the same header three times"),
    ("NULL", "key-3", "no headers"),
    ("h:NULL", "key-4", "a header without value"),
    ("NULL", "NULL", "no key"),
    ("NULL", "key-6", "NULL"),
    ("NULL", "key-7", ""),
    ("ü:ö", "ключ", "値 🙂"),
]
PERF_RECORDS = 20_000


def tests(suite, tools):
    suite.test("console-keys-headers-and-nulls", lambda: keys_and_headers(tools))
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        suite.test(f"console-compression-{codec}", lambda codec=codec: compression(tools, codec))
    suite.test("console-acks-0", lambda: acks_zero(tools))
    suite.test("console-consumer-offsets", lambda: consumer_offsets(tools))
    suite.test("get-offsets", lambda: get_offsets(tools))
    suite.test("producer-perf-test", lambda: performance(tools))


def produce(tools, topic, lines, *arguments):
    tools.on_broker("ConsoleProducer", "--topic", topic, *arguments, stdin="".join(f"{line}\n" for line in lines))


def consume(tools, topic, count, *arguments, offset="earliest", partition=0):
    # The limit ends the tool with an error should fewer records come than are due.
    return tools.on_broker("consumer.ConsoleConsumer", "--topic", topic, "--partition", partition, "--offset", offset,
                           "--max-messages", count, "--timeout-ms", 20_000, *arguments)


def keys_and_headers(tools):
    topic = "tools-console"
    tools.create(topic)
    parse = [word for setting in ("parse.key=true", "parse.headers=true", "key.separator=\t", "headers.delimiter=\t", "null.marker=NULL")
             for word in ("--reader-property", setting)]
    produce(tools, topic, ["\t".join(line) for line in LINES], *parse)
    show = [word for setting in ("print.offset=true", "print.partition=true", "print.key=true", "print.headers=true",
                                 "key.separator=\t", "headers.separator=,", "null.literal=NULL")
            for word in ("--formatter-property", setting)]
    read = consume(tools, topic, len(LINES), *show)
    expected = []
    for at, (headers, key, value) in enumerate(LINES):
        shown = "NO_HEADERS" if headers == "NULL" else headers
        expected.append(f"Partition:0\tOffset:{at}\t{shown}\t{key}\t{value}")
    equal(read, expected, "lines read")


def compression(tools, codec):
    topic = f"tools-codec-{codec}"
    tools.create(topic)
    lines = [f"{at} and the same words again" for at in range(500)]
    produce(tools, topic, lines, "--compression-codec", codec)
    equal(consume(tools, topic, 500), lines, "lines read")


def acks_zero(tools):
    topic = "tools-acks-0"
    tools.create(topic)
    lines = [f"line {at}" for at in range(100)]
    produce(tools, topic, lines, "--request-required-acks", 0, "--command-property", "enable.idempotence=false")
    equal(consume(tools, topic, 100), lines, "lines read")


def consumer_offsets(tools):
    topic = "tools-offsets"
    tools.create(topic)
    produce(tools, topic, [f"line {at}" for at in range(20)])
    equal(consume(tools, topic, 5, offset="7"), [f"line {at}" for at in range(7, 12)], "lines from offset 7")
    equal(consume(tools, topic, 3, "--isolation-level", "read_committed"), ["line 0", "line 1", "line 2"], "lines, read_committed")


def get_offsets(tools):
    topic = "tools-get-offsets"
    tools.create(topic, partitions=3)
    equal(tools.offsets(topic), {0: 0, 1: 0, 2: 0}, "offsets of an empty topic")
    produce(tools, topic, [f"{at}:line" for at in range(90)], "--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
    ends = tools.offsets(topic)
    equal(sum(ends.values()), 90, "sum of the ends")
    assert all(ends.values()), f"a partition without records: {ends}"
    equal(tools.offsets(topic, "--time", -2), {0: 0, 1: 0, 2: 0}, "earliest")
    equal(tools.offsets(topic, "--time", "earliest"), {0: 0, 1: 0, 2: 0}, "earliest by name")
    latest = tools.offsets(topic, "--time", "max-timestamp", "--partitions", "0,2")
    assert set(latest) == {0, 2} and all(latest[at] < ends[at] for at in latest), f"offsets of the largest times: {latest}"
    equal(tools.offsets(topic, "--time", 1000), {0: 0, 1: 0, 2: 0}, "by a time long past")


def performance(tools):
    topic = "tools-perf"
    tools.create(topic, partitions=2)
    said = tools.on_broker("ProducerPerformance", "--topic", topic, "--num-records", PERF_RECORDS, "--record-size", 200, "--throughput", -1)
    total = re.match(r"(\d+) records sent, [\d.]+ records/sec \([\d.]+ MB/sec\), [\d.]+ ms avg latency, .* 99\.9th\.", said[-1])
    assert total, f"last line {said[-1]!r}"
    equal(int(total[1]), PERF_RECORDS, "records sent")
    equal(sum(tools.offsets(topic).values()), PERF_RECORDS, "sum of the ends")
