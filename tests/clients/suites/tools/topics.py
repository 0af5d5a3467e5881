"""kafka-topics and kafka-broker-api-versions."""

import re

from harness.report import equal


def tests(suite, tools):
    suite.test("topics-create-list-describe-delete", lambda: life(tools))
    suite.test("topics-refusals", lambda: refusals(tools))
    suite.test("broker-api-versions", lambda: api_versions(tools))


def life(tools):
    name = "tools-life"
    settings = ["--config", "segment.bytes=1048576", "--config", "max.message.bytes=2000000"]
    created = tools.topics("--create", "--topic", name, "--partitions", 3, "--replication-factor", 1, *settings)
    equal(created, [f"Created topic {name}."], "output of --create")
    tools.topics("--create", "--topic", "tools-other")
    listed = tools.topics("--list")
    assert {name, "tools-other"} <= set(listed), f"output of --list: {listed}"

    head, *partitions = tools.topics("--describe", "--topic", name)
    described = fields(head)
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", described.pop("TopicId")), f"topic id in {head!r}"
    configs = set(described.pop("Configs").split(","))
    equal(described, {"Topic": name, "PartitionCount": "3", "ReplicationFactor": "1"}, "head of --describe")
    assert {"segment.bytes=1048576", "max.message.bytes=2000000"} <= configs, f"configs in {head!r}"
    node = fields(partitions[0])["Leader"]
    expected = [{"Topic": name, "Partition": str(at), "Leader": node, "Replicas": node, "Isr": node} for at in range(3)]
    found = [fields(line) for line in partitions]
    for each in found:
        # Eligible and last known leaders: lists which are empty here, and which a broker may leave out.
        equal(each.pop("Elr", ""), "", "Elr")
        equal(each.pop("LastKnownElr", ""), "", "LastKnownElr")
    equal(found, expected, "partitions of --describe")

    equal(tools.topics("--describe", "--unavailable-partitions"), [], "unavailable partitions")
    equal(tools.topics("--delete", "--topic", name), [], "output of --delete")
    assert name not in tools.topics("--list"), "the deleted topic is still listed"


def fields(line):
    return dict((key, value.strip()) for key, _, value in (part.partition(":") for part in line.strip("\t").split("\t")))


def refusals(tools):
    tools.create("tools-refusals")
    expect(tools, "Topic 'tools-refusals' already exists", "--create", "--topic", "tools-refusals")
    expect(tools, "Topic 'tools-nobody' does not exist", "--describe", "--topic", "tools-nobody")
    expect(tools, "Topic 'tools-nobody' does not exist", "--delete", "--topic", "tools-nobody")
    expect(tools, "replication factor", "--create", "--topic", "tools-replicated", "--replication-factor", 3)
    expect(tools, "Unknown topic config name: no.such", "--create", "--topic", "tools-config", "--config", "no.such=1")


def expect(tools, text, *arguments):
    said = "\n".join(tools.topics(*arguments, expect=1))
    assert text.lower() in said.lower(), f"{arguments}: {text!r} is not in {said!r}"


def api_versions(tools):
    said = tools.on_broker("BrokerApiVersionsCommand")
    assert said[0].startswith(tools.broker.bootstrap), f"first line {said[0]!r}"
    for api in ("Produce(0): 0 to 13", "Fetch(1): 4 to 18", "ListOffsets(2): 1 to 11", "ApiVersions(18): 0 to 4"):
        assert any(api in line for line in said), f"{api} is not in {said}"
