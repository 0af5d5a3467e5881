"""kafka-consumer-groups, the console consumer in a group, and the verifiable consumer."""

import json
import re
import subprocess
import time

from harness import prepare
from harness.report import equal

from .console import produce
from .kafka_tools import PACKAGE

TOPIC, PARTITIONS, LINES = "tools-groups", 2, 40
LIMIT_S = 60


def tests(suite, tools):
    suite.test("groups-console-consumer", lambda: console(tools))
    suite.test("groups-console-consumer-goes-on", lambda: goes_on(tools))
    suite.test("groups-list", lambda: listed(tools))
    suite.test("groups-describe", lambda: described(tools))
    suite.test("groups-describe-members-and-state", lambda: members(tools))
    suite.test("groups-reset-offsets", lambda: reset(tools))
    suite.test("groups-reset-offsets-from-a-file", lambda: from_file(tools))
    suite.test("groups-delete-offsets", lambda: delete_offsets(tools))
    suite.test("groups-delete", lambda: delete(tools))
    suite.test("groups-unknown", lambda: unknown(tools))
    suite.test("groups-verifiable-consumer", lambda: verifiable(tools))


def groups(tools, *arguments, **more):
    return tools.on_broker("consumer.group.ConsumerGroupCommand", *arguments, **more)


def table(lines):
    """The rows below the headings, as dictionaries."""
    lines = [line for line in lines if line.strip()]
    at = next(at for at, line in enumerate(lines) if line.startswith("GROUP "))
    names = re.split(r"\s+(?=[A-Z#])", lines[at].strip())
    # A coordinator is an address and a number in parentheses.
    rows = [re.sub(r"\s+\(", "(", line.strip()) for line in lines[at + 1:]]
    return [dict(zip(names, row.split(), strict=False)) for row in rows]


def consume(tools, group, count, *arguments):
    # The consumer commits when it closes, if it closes in peace: at the number of messages it was told.
    return tools.on_broker("consumer.ConsoleConsumer", "--topic", TOPIC, "--group", group, "--from-beginning", "--max-messages", count,
                           "--timeout-ms", 30_000, "--command-property", "group.protocol=classic", *arguments)


def console(tools):
    tools.create(TOPIC, partitions=PARTITIONS)
    lines = [f"{at}:line {at}" for at in range(LINES)]
    produce(tools, TOPIC, lines, "--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
    equal(sorted(consume(tools, "tools-console", LINES)), sorted(f"line {at}" for at in range(LINES)), "lines read")


def goes_on(tools):
    produce(tools, TOPIC, ["a:later", "b:later", "c:later"], "--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
    equal(consume(tools, "tools-console", 3), ["later"] * 3, "lines read by the next member")


def listed(tools):
    assert "tools-console" in groups(tools, "--list"), "the group is not listed"
    rows = table(groups(tools, "--list", "--state"))
    equal([row["STATE"] for row in rows if row["GROUP"] == "tools-console"], ["Empty"], "its state")
    equal([row["GROUP"] for row in table(groups(tools, "--list", "--state", "stable"))], [], "stable groups")
    rows = table(groups(tools, "--list", "--type"))
    equal([row["TYPE"] for row in rows if row["GROUP"] == "tools-console"], ["Classic"], "its type")


def described(tools):
    said = groups(tools, "--describe", "--group", "tools-console", expect=0, notices=("", "Consumer group 'tools-console' has no active members."))
    rows = {int(row["PARTITION"]): row for row in table(said)}
    ends = tools.offsets(TOPIC)
    equal({at: (int(row["CURRENT-OFFSET"]), int(row["LOG-END-OFFSET"]), row["LAG"], row["CONSUMER-ID"]) for at, row in rows.items()},
          {at: (end, end, "0", "-") for at, end in ends.items()}, "offsets, lags and members")


def started(tools, tool, *arguments):
    command = [*tools.jvm, f"{PACKAGE}.{tool}", "--bootstrap-server", tools.broker.bootstrap,
               *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def eventually(look):
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            return look()
        except (AssertionError, StopIteration):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def members(tools):
    """Two members, as the tool sees them."""
    running = [started(tools, "consumer.ConsoleConsumer", "--topic", TOPIC, "--group", "tools-two", "--command-property", "group.protocol=classic")
               for _ in range(2)]
    try:
        def both():
            rows = table(groups(tools, "--describe", "--group", "tools-two", "--members", "--verbose"))
            equal([(row["GROUP"], row["#PARTITIONS"]) for row in rows], [("tools-two", "1")] * 2, "members with a partition each")
            given = sorted(value for row in rows for value in row.values() if value.startswith(f"{TOPIC}"))
            equal(given, [f"{TOPIC}:0", f"{TOPIC}:1"], f"assignments in {rows}")
            return rows

        rows = eventually(both)
        equal({row["HOST"] for row in rows}, {"/127.0.0.1"}, "hosts")
        state = table(groups(tools, "--describe", "--group", "tools-two", "--state"))[0]
        equal((state["STATE"], state["#MEMBERS"]), ("Stable", "2"), "(state, members)")
        refusal = "Error: Assignments can only be reset if the group 'tools-two' is inactive, but the current state is Stable."
        said = groups(tools, "--reset-offsets", "--group", "tools-two", "--topic", TOPIC, "--to-earliest", "--execute", notices=(refusal,))
        assert refusal in said or not any(line.startswith("GROUP ") for line in said), f"a reset of a group with members: {said}"
    finally:
        for each in running:
            each.kill()
            each.wait()


def reset(tools):
    def to(*where):
        said = groups(tools, "--reset-offsets", "--group", "tools-console", "--topic", TOPIC, *where, "--execute")
        return {int(row["PARTITION"]): int(row["NEW-OFFSET"]) for row in table(said)}

    ends = tools.offsets(TOPIC)
    equal(to("--to-earliest"), {0: 0, 1: 0}, "to the earliest")
    equal(to("--shift-by", 3), {0: 3, 1: 3}, "three further")
    equal(to("--to-offset", 1_000), ends, "beyond the end")
    equal(to("--to-datetime", "2000-01-01T00:00:00.000"), {0: 0, 1: 0}, "to a time before all")
    equal(to("--to-current"), {0: 0, 1: 0}, "to where it is")
    equal(to("--to-latest"), ends, "to the latest")
    equal(to("--to-offset", 2), {0: 2, 1: 2}, "to an offset")
    equal(len(consume(tools, "tools-console", sum(ends.values()) - 4)), sum(ends.values()) - 4, "lines from there")


def from_file(tools):
    path = tools.broker.home / "offsets.csv"
    path.write_text(f"{TOPIC},0,5\n{TOPIC},1,6\n")
    said = groups(tools, "--reset-offsets", "--group", "tools-file", "--from-file", path, "--execute")
    equal({int(row["PARTITION"]): int(row["NEW-OFFSET"]) for row in table(said)}, {0: 5, 1: 6}, "offsets of a group nobody knew")


def delete_offsets(tools):
    said = groups(tools, "--delete-offsets", "--group", "tools-file", "--topic", f"{TOPIC}:1")
    assert any(line.startswith(f"Request succeeded for deleting offsets from group tools-file") or "Successful" in line for line in said), f"{said}"
    rows = table(groups(tools, "--describe", "--group", "tools-file", "--offsets", notices=("Consumer group 'tools-file' has no active members.",)))
    equal({row["PARTITION"]: row["CURRENT-OFFSET"] for row in rows}, {"0": "5"}, "offsets left")


def delete(tools):
    equal(groups(tools, "--delete", "--group", "tools-file"), ["Deletion of requested consumer groups ('tools-file') was successful."], "what the tool says")
    assert "tools-file" not in groups(tools, "--list"), "the deleted group is still listed"


def unknown(tools):
    for arguments in (("--describe", "--group", "tools-nobody"), ("--delete", "--group", "tools-nobody")):
        command = [*tools.jvm, f"{PACKAGE}.consumer.group.ConsumerGroupCommand",
                   "--bootstrap-server", tools.broker.bootstrap, *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
        said = ended.stdout + ended.stderr
        assert "GroupIdNotFoundException" in said or "does not exist" in said or "not found" in said, f"{arguments}: {said}"


def verifiable(tools):
    """Kafka's own test consumer: it tells of each rebalance, each read and each commit."""
    count = sum(tools.offsets(TOPIC).values())
    command = ["--topic", TOPIC, "--group-id", "tools-verifiable", "--max-messages", count, "--reset-policy", "earliest", "--verbose",
               "--group-protocol", "classic"]
    consumer = started(tools, "VerifiableConsumer", *command)
    try:
        said = [json.loads(line) for line in consumer.communicate(timeout=LIMIT_S)[0].splitlines()]
    finally:
        consumer.kill()
    names = [each["name"] for each in said]
    equal(names.count("record_data"), count, "records")
    assert {"startup_complete", "partitions_assigned", "records_consumed", "offsets_committed", "shutdown_complete"} <= set(names), f"{set(names)}"
    equal([each for each in said if each["name"] == "offsets_committed" and not each["success"]], [], "commits that failed")
    rows = table(groups(tools, "--describe", "--group", "tools-verifiable", notices=("Consumer group 'tools-verifiable' has no active members.",)))
    equal({row["LAG"] for row in rows}, {"0"}, "lags")
