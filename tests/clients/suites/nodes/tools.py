"""kafka-topics, kafka-leader-election, kafka-reassign-partitions, kafka-cluster and the console on three nodes."""

import json
import re
import subprocess
import threading
import time

from harness.nodes import RACKS
from harness.report import equal

from ..tools.console import consume, produce

LIMIT_S = 40
LINE = re.compile(r"Topic: (\S+)\s+Partition: (\d+)\s+Leader: (\S+)\s+Replicas: (\S+)\s+Isr: ?(\S*)\s+Elr: ?(\S*)\s+LastKnownElr: ?(\S*)$")


def tests(suite, tools):
    suite.test("tools-topics-and-a-node-that-is-gone", lambda: gone(tools))
    suite.test("tools-elect-the-preferred-leader", lambda: preferred(tools))
    suite.test("tools-reassign", lambda: reassign(tools))
    suite.test("tools-nobody-leads", lambda: leaderless(tools))
    suite.test("tools-list-endpoints", lambda: endpoints(tools))
    suite.test("tools-log-dirs", lambda: log_dirs(tools))
    suite.test("tools-settings-of-one-node", lambda: settings(tools))
    suite.test("tools-replica-verification", lambda: verified(tools))


def described(tools, *arguments):
    """What kafka-topics says of partitions: [(leader, replicas, in sync, eligible, last known)]."""
    found = [LINE.match(line.strip()) for line in tools.topics("--describe", *arguments) if "Partition: " in line]
    assert all(found), f"lines of another form: {found}"
    numbers = [[sorted(map(int, filter(None, each.group(at).split(",")))) for at in (5, 6, 7)] for each in found]
    return [(each.group(3), each.group(4), *lists) for each, lists in zip(found, numbers, strict=True)]


def eventually(expected, find):
    deadline = time.monotonic() + LIMIT_S
    while (found := find()) != expected:
        assert time.monotonic() < deadline, f"{found} and not {expected} after {LIMIT_S} s"
    return found


def make(tools, topic, replicas):
    tools.topics("--create", "--topic", topic, "--replica-assignment", ":".join(map(str, replicas)))


def gone(tools):
    topic = "nodes-gone"
    make(tools, topic, [1, 2, 0])
    equal(described(tools, "--topic", topic), [("1", "1,2,0", [0, 1, 2], [], [])], "all there")
    equal(described(tools, "--under-replicated-partitions"), [], "nothing is under-replicated")
    lines = [f"line {at}" for at in range(200)]
    produce(tools, topic, lines[:100])
    tools.broker.kill_node(1)
    try:
        without = [("2", "1,2,0", [0, 2], [], [])]
        eventually(without, lambda: described(tools, "--topic", topic))
        for state in ("under-replicated", "at-min-isr"):
            equal(described(tools, f"--{state}-partitions", "--topic", topic), without, state)
        for state in ("under-min-isr", "unavailable"):
            equal(described(tools, f"--{state}-partitions", "--topic", topic), [], state)
        produce(tools, topic, lines[100:])
        equal(consume(tools, topic, 200), lines, "lines read")
    finally:
        tools.broker.start_node(1)
    eventually([("2", "1,2,0", [0, 1, 2], [], [])], lambda: described(tools, "--topic", topic))
    equal(described(tools, "--under-replicated-partitions", "--topic", topic), [], "everybody is back")


def preferred(tools):
    topic = "nodes-preferred"
    make(tools, topic, [0, 1, 2])
    tools.broker.kill_node(0)
    try:
        eventually([("1", "0,1,2", [1, 2], [], [])], lambda: described(tools, "--topic", topic))
        said = "\n".join(elect(tools, topic, expect=1, notices=None))
        assert "preferred leader was not available" in said.lower() or "PreferredLeaderNotAvailable" in said, said
    finally:
        tools.broker.start_node(0)
    eventually([("1", "0,1,2", [0, 1, 2], [], [])], lambda: described(tools, "--topic", topic))
    equal(elect(tools, topic), [f"Successfully completed leader election (PREFERRED) for partitions {topic}-0"], "the election")
    eventually([("0", "0,1,2", [0, 1, 2], [], [])], lambda: described(tools, "--topic", topic))
    equal(elect(tools, topic), [f"Valid replica already elected for partitions {topic}-0"], "the second one")


def elect(tools, topic, kind="preferred", **more):
    return tools.on_broker("LeaderElectionCommand", "--election-type", kind, "--topic", topic, "--partition", 0, **more)


def reassign(tools):
    topic = "nodes-moved"
    make(tools, topic, [0, 1])
    lines = [f"line {at}" for at in range(300)]
    produce(tools, topic, lines)
    plan = plan_file(tools)
    plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": topic, "partition": 0, "replicas": [2, 1]}]}))
    said = command(tools, plan, "--execute")
    assert any(line.startswith("Successfully started partition reassignment for " + topic) for line in said), said
    done = f"Reassignment of partition {topic}-0 is completed."
    deadline = time.monotonic() + LIMIT_S
    while done not in (said := command(tools, plan, "--verify")):
        assert time.monotonic() < deadline, said
    eventually([("2", "2,1", [1, 2], [], [])], lambda: described(tools, "--topic", topic))
    equal(tools.on_broker("reassign.ReassignPartitionsCommand", "--list"), ["No partition reassignments found."], "--list")
    equal(consume(tools, topic, 300), lines, "lines read")
    said = command(tools, plan, "--cancel")
    assert any("None of the specified partition reassignments are active" in line for line in said), said


def plan_file(tools):
    # Highwater's nodes are one process with a home, Kafka's have one each.
    home = getattr(tools.broker, "home", None) or tools.broker.nodes[0].home
    return home / "plan.json"


def command(tools, plan, action):
    return tools.on_broker("reassign.ReassignPartitionsCommand", "--reassignment-json-file", plan, action)


def leaderless(tools):
    topic = "nodes-leaderless"
    make(tools, topic, [0, 1])
    tools.broker.kill_node(1)
    try:
        eventually([("0", "0,1", [0], [1], [])], lambda: described(tools, "--topic", topic))
        tools.broker.kill_node(0)
        try:
            if tools.broker.name == "highwater":
                # With two of Apache's nodes gone there is nobody to agree on it.
                nobody = [("none", "0,1", [], [0, 1], [0])]
                eventually(nobody, lambda: described(tools, "--topic", topic))
                equal(described(tools, "--unavailable-partitions", "--topic", topic), nobody, "unavailable")
                equal(described(tools, "--under-min-isr-partitions", "--topic", topic), nobody, "under min ISR")
        finally:
            tools.broker.start_node(0)
    finally:
        tools.broker.start_node(1)
    eventually([[0, 1]], lambda: [found[2] for found in described(tools, "--topic", topic)])


def endpoints(tools):
    said = tools.run("ClusterTool", "list-endpoints", "--bootstrap-server", tools.broker.bootstrap)
    head, *rows = (line.split() for line in said)
    found = [dict(zip(head, row, strict=True)) for row in rows]
    places = [f"{row['HOST']}:{row['PORT']}" for row in found]
    equal(sorted(places), sorted(tools.broker.bootstrap.split(",")), "where the nodes are")
    equal(sorted(int(row["ID"]) for row in found), [0, 1, 2], "who they are")


def log_dirs(tools):
    """Who holds a partition tells how much of it, and how far behind its leader it is."""
    topic = "nodes-log-dirs"
    make(tools, topic, [2, 0])
    produce(tools, topic, [f"line {at}" for at in range(100)])

    def found():
        told = json.loads(tools.on_broker("LogDirsCommand", "--describe", "--topic-list", topic)[-1])["brokers"]
        return {each["broker"]: [part for folder in each["logDirs"] for part in folder["partitions"]] for each in told}

    eventually(True, lambda: same_size(found()[0], found()[2]))
    equal(found()[1], [], "what node 1 holds")
    said = tools.on_broker("LogDirsCommand", "--describe", "--topic-list", topic, "--broker-list", "0,2")
    equal(sorted(each["broker"] for each in json.loads(said[-1])["brokers"]), [0, 2], "who was asked")


def same_size(one, other):
    return len(one) == 1 and one == other and one[0]["size"] > 0 and one[0]["offsetLag"] == 0


def settings(tools):
    """Each node is asked for its own, and only one has what was set on it."""
    def ask(node, *arguments):
        return tools.on_broker("kafka.admin.ConfigCommand", "--entity-type", "brokers", "--entity-name", node, *arguments)

    for node, rack in enumerate(RACKS):
        said = ask(node, "--describe", "--all")
        assert any(line.strip().startswith(f"broker.rack={rack} ") for line in said), said
    ask(1, "--alter", "--add-config", "max.connections=12345")
    try:
        eventually([False, True, False], lambda: [any("max.connections=12345" in line for line in ask(node, "--describe")) for node in range(3)])
    finally:
        ask(1, "--alter", "--delete-config", "max.connections")


def verified(tools):
    """The tool reads every replica, holds the checksums of their batches beside each other, and says how far they are behind."""
    topic, count = "nodes-verified", 500
    make(tools, topic, [0, 1, 2])
    produce(tools, topic, [f"line {at}" for at in range(count)])
    command = [*tools.jvm, "org.apache.kafka.tools.ReplicaVerificationTool", "--broker-list", tools.broker.bootstrap,
               "--topics-include", topic, "--time", "-2", "--report-interval-ms", "200"]
    whole = f"max lag is 0 for partition {topic}-0 at offset {count} among 1 partitions"
    said = []
    # It never ends.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as tool:
        timer = threading.Timer(LIMIT_S, tool.kill)
        timer.start()
        try:
            for line in tool.stdout:
                said.append(line.strip())
                if whole in line:
                    break
        finally:
            timer.cancel()
            tool.kill()
    assert said and whole in said[-1], said
    wrong = [line for line in said if "verification process is started" not in line and "max lag is" not in line]
    equal([line for line in wrong if not line.startswith("Option ")], [], "what else it says")
