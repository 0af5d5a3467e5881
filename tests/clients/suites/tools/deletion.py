"""kafka-delete-records."""

import json
import re

from harness.report import equal

from .console import consume, produce


def tests(suite, tools):
    suite.test("delete-records", lambda: delete_records(tools))


def delete_records(tools):
    topic = "tools-delete-records"
    tools.create(topic, partitions=2)
    produce(tools, topic, [f"line {at}" for at in range(10)])
    ends = tools.offsets(topic)
    # Lines without keys may all be in one partition.
    full = max(ends, key=ends.get)
    equal(delete(tools, (topic, full, 1)), [f"partition: {topic}-{full}\tlow_watermark: 1"], "said of offset 1")
    equal(delete(tools, (topic, full, -1)), [f"partition: {topic}-{full}\tlow_watermark: {ends[full]}"], "said of all")
    equal(tools.offsets(topic, "--time", "earliest")[full], ends[full], "start of the log")
    produce(tools, topic, ["behind"] * 5)
    after = tools.offsets(topic)
    if after[full] > ends[full]:
        equal(consume(tools, topic, 1, partition=full), ["behind"], "the first line left")
    past = delete(tools, (topic, full, after[full] + 1))
    assert len(past) == 1 and re.search("OffsetOutOfRange|not within the range", past[0]), f"past the end: {past}"


def delete(tools, *entries):
    """What the tool says of each partition."""
    asked = [{"topic": topic, "partition": partition, "offset": offset} for topic, partition, offset in entries]
    path = tools.broker.home / "offsets.json"
    path.write_text(json.dumps({"partitions": asked, "version": 1}))
    said = tools.on_broker("DeleteRecordsCommand", "--offset-json-file", path)
    equal(said[:2], ["Executing records delete operation", "Records delete operation completed:"], "what the tool says first")
    return said[2:]
