"""Kafka's own test programs: VerifiableProducer, VerifiableConsumer in groups of either protocol, ClientCompatibilityTest, end-to-end-latency,
consumer-perf-test."""

import json

from harness.report import equal

from .groups import LIMIT_S, TOPIC as GROUPS_TOPIC, started

TOPIC = "tools-verified"
MESSAGES = 200


def tests(suite, tools):
    suite.test("verifiable-producer", lambda: producer(tools))
    suite.test("verifiable-consumers-of-the-consumer-protocol", lambda: consumers(tools))
    suite.test("verifiable-consumers-among-the-groups", lambda: groups_command(tools))
    suite.test("client-compatibility-test", lambda: compatibility(tools))
    suite.test("consumer-perf-test", lambda: performance(tools))
    suite.test("end-to-end-latency", lambda: latency(tools))


def producer(tools):
    tools.create(TOPIC, partitions=2)
    said = tools.on_broker("VerifiableProducer", "--topic", TOPIC, "--max-messages", MESSAGES, "--value-prefix", 7, "--repeating-keys", 10)
    events = [json.loads(line) for line in said]
    sent = [each for each in events if each["name"] == "producer_send_success"]
    equal(sorted(int(each["value"].removeprefix("7.")) for each in sent), list(range(MESSAGES)), "values sent")
    equal({name: events[-1][name] for name in ("name", "sent", "acked")}, {"name": "tool_data", "sent": MESSAGES, "acked": MESSAGES}, "what it says at last")
    ends = tools.offsets(TOPIC)
    equal({at: [each["offset"] for each in sent if each["partition"] == at] for at in ends}, {at: list(range(end)) for at, end in ends.items()}, "offsets told")


def consumers(tools):
    """Two of them: the second is started when the first has all partitions."""
    running, told = [], []
    try:
        for count in (1, 2):
            one = started(tools, "VerifiableConsumer", "--topic", TOPIC, "--group-id", "tools-new", "--group-protocol", "consumer",
                          "--group-remote-assignor", "uniform", "--reset-policy", "earliest")
            running.append(one)
            told.append(await_assigned(one, 2 if count == 1 else 1))
        consumed = sum(each["count"] for each in told[0] if each["name"] == "records_consumed")
        assert consumed <= MESSAGES, f"{consumed} records for the first"
        for one in running:
            one.terminate()
        rest = [[json.loads(line) for line in one.communicate(timeout=LIMIT_S)[0].splitlines()] for one in running]
    finally:
        for one in running:
            one.kill()
            one.wait()
    events = [event for each in told + rest for event in each]
    equal(sum(each["count"] for each in events if each["name"] == "records_consumed"), MESSAGES, "records of both")
    equal([each for each in events if each["name"] == "offsets_committed" and not each["success"]], [], "commits that failed")
    equal([each[-1]["name"] for each in rest], ["shutdown_complete"] * 2, "what they say at last")


def await_assigned(consumer, count):
    """What it said until it was given as many partitions at once."""
    events = []
    for line in consumer.stdout:
        events.append(json.loads(line))
        if events[-1]["name"] == "partitions_assigned" and len(events[-1]["partitions"]) == count:
            return events
    raise AssertionError(f"it ended before it had {count} partitions: {events}")


def groups_command(tools):
    """kafka-groups: groups of all kinds."""
    said = tools.on_broker("GroupsCommand", "--list", "--consumer")
    rows = [line.split() for line in said[1:] if line.strip()]
    equal([row for row in rows if row[0] == "tools-new"], [["tools-new", "Consumer", "consumer"]], "name, type, protocol")


def compatibility(tools):
    # It will read nothing but what it has written.
    tools.create("tools-compatibility")
    has = ["offsets-for-times", "cluster-id", "create-topics", "describe-acls", "describe-configs", "idempotent-producer"]
    arguments = [word for each in has for word in (f"--{each}-supported", "true")]
    said = tools.on_broker("ClientCompatibilityTest", "--topic", "tools-compatibility", "--num-cluster-nodes", 1, "--expect-record-too-large-exception", "false", *arguments)
    equal(said[-1], "SUCCESS.", "the last line")


def performance(tools):
    count = sum(tools.offsets(GROUPS_TOPIC).values())
    said = tools.on_broker("ConsumerPerformance", "--topic", GROUPS_TOPIC, "--num-records", count, "--timeout", 20_000)
    head, row = ([word.strip() for word in line.split(",")] for line in said[-2:])
    equal(dict(zip(head, row, strict=True))["data.consumed.in.nMsg"], str(count), "records read")


def latency(tools):
    tools.create("tools-latency")
    arguments = ["--topic", "tools-latency", "--num-records", 50, "--producer-acks", "all", "--record-size", 100]
    said = tools.on_broker("EndToEndLatency", *arguments)
    assert said[-2].startswith("Avg latency:") and said[-1].startswith("Percentiles:"), f"{said}"
    equal(tools.offsets("tools-latency"), {0: 50}, "end of the log")
