"""kafka-consumer-groups --reset-offsets, --delete-offsets and --delete in all their forms, on many groups at once."""

import re
import time

from harness.report import equal

from .console import produce
from .groups import groups, table

TOPIC, OTHER, GROUP, SECOND = "tools-resets", "tools-resets-too", "tools-resetting", "tools-resetting-too"


def tests(suite, tools):
    suite.test("resets-by-what", lambda: scopes(tools))
    suite.test("resets-to-a-time", lambda: times(tools))
    suite.test("resets-tried-and-exported", lambda: exported(tools))
    suite.test("resets-of-all-groups", lambda: all_groups(tools))
    suite.test("resets-then-delete-offsets", lambda: delete_offsets(tools))
    suite.test("resets-then-describe-and-delete-several-groups", lambda: delete_several(tools))


def reset(tools, *arguments, group=GROUP, execute=True):
    """What the tool says it sets: {(group, topic, partition): offset}."""
    scope = ["--group", group] if group else ["--all-groups"]
    said = groups(tools, "--reset-offsets", *scope, *arguments, "--execute" if execute else "--dry-run")
    return {(row["GROUP"], row["TOPIC"], int(row["PARTITION"])): int(row["NEW-OFFSET"]) for row in table(said)}


def committed(tools, group=GROUP):
    said = groups(tools, "--describe", "--group", group, notices=(f"Consumer group '{group}' has no active members.",))
    return {(row["GROUP"], row["TOPIC"], int(row["PARTITION"])): int(row["CURRENT-OFFSET"]) for row in table(said) if row["CURRENT-OFFSET"] != "-"}


def places(offset, *partitions, group=GROUP, topic=TOPIC):
    return {(group, topic, at): offset for at in partitions}


def scopes(tools):
    keyed = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"]
    tools.create(TOPIC, partitions=2)
    tools.create(OTHER)
    produce(tools, TOPIC, [f"{at}:line" for at in range(60)], *keyed)
    produce(tools, OTHER, ["line"] * 10)
    equal(reset(tools, "--topic", f"{TOPIC}:1", "--to-offset", 3), places(3, 1), "one partition of a topic")
    equal(reset(tools, "--topic", f"{TOPIC}:0,1", "--to-offset", 4), places(4, 0, 1), "two partitions of a topic")
    equal(reset(tools, "--topic", TOPIC, "--topic", OTHER, "--to-offset", 5), places(5, 0, 1) | places(5, 0, topic=OTHER), "two topics")
    equal(reset(tools, "--all-topics", "--shift-by", -2), places(3, 0, 1) | places(3, 0, topic=OTHER), "all topics of the group")
    equal(reset(tools, "--all-topics", "--shift-by", -100), places(0, 0, 1) | places(0, 0, topic=OTHER), "before the beginning")
    equal(committed(tools), places(0, 0, 1) | places(0, 0, topic=OTHER), "what is committed")


def times(tools):
    ends = tools.offsets(TOPIC)
    equal(reset(tools, "--topic", TOPIC, "--by-duration", "PT1H"), places(0, 0, 1), "an hour ago")
    equal(reset(tools, "--topic", TOPIC, "--by-duration", "PT0S"), {(GROUP, TOPIC, at): end for at, end in ends.items()}, "now")
    equal(reset(tools, "--topic", TOPIC, "--to-datetime", "2001-01-01T00:00:00.000Z"), places(0, 0, 1), "long ago")
    # Between two batches.
    time.sleep(0.05)
    moment = time.time()
    time.sleep(0.05)
    produce(tools, TOPIC, [f"{at}:later" for at in range(60)], "--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
    told = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment * 1000) % 1000:03}Z"
    equal(reset(tools, "--topic", TOPIC, "--to-datetime", told), {(GROUP, TOPIC, at): end for at, end in ends.items()}, "a moment between")


def exported(tools):
    reset(tools, "--topic", TOPIC, "--to-offset", 7)
    equal(reset(tools, "--topic", TOPIC, "--to-latest", execute=False), {(GROUP, TOPIC, at): end for at, end in tools.offsets(TOPIC).items()}, "what would be set")
    equal({at: offset for at, offset in committed(tools).items() if at[1] == TOPIC}, places(7, 0, 1), "what is committed still")
    lines = groups(tools, "--reset-offsets", "--group", GROUP, "--topic", TOPIC, "--to-current", "--dry-run", "--export")
    equal(sorted(line for line in lines if line), [f"{TOPIC},0,7", f"{TOPIC},1,7"], "what is exported")
    path = tools.broker.home / "exported.csv"
    path.write_text("\n".join(lines))
    reset(tools, "--topic", TOPIC, "--to-earliest")
    equal(reset(tools, "--from-file", path), places(7, 0, 1), "what the file sets")


def all_groups(tools):
    reset(tools, "--topic", TOPIC, "--to-offset", 1, group=SECOND)
    told = reset(tools, "--topic", TOPIC, "--to-offset", 2, group=None)
    assert told.items() >= (places(2, 0, 1) | places(2, 0, 1, group=SECOND)).items(), f"told {told}"
    equal(committed(tools, SECOND), places(2, 0, 1, group=SECOND), "what is committed of the second")


def statuses(lines):
    at = next(at for at, line in enumerate(lines) if line.startswith("TOPIC "))
    return {(topic, part): status for topic, part, status in (re.split(r"\s+", line.strip(), maxsplit=2) for line in lines[at + 1:] if line.strip())}


def delete_offsets(tools):
    said = groups(tools, "--delete-offsets", "--group", GROUP, "--topic", f"{TOPIC}:1")
    equal(statuses(said), {(TOPIC, "1"): "Successful"}, "told of one partition")
    said = groups(tools, "--delete-offsets", "--group", GROUP, "--topic", OTHER)
    equal(statuses(said), {(OTHER, "0"): "Successful"}, "told of a topic")
    equal(committed(tools), places(2, 0), "what is left")
    said = "\n".join(groups(tools, "--delete-offsets", "--group", GROUP, "--topic", "tools-nobody:0", notices=None))
    assert "UnknownTopicOrPartition" in said or "does not host" in said, f"of a topic that is not there: {said}"


def delete_several(tools):
    said = groups(tools, "--describe", "--group", GROUP, "--group", SECOND, "--state", notices=None)
    rows = [row for block in blocks(said) for row in table(block)]
    equal({row["GROUP"]: (row["STATE"], row["#MEMBERS"]) for row in rows}, {GROUP: ("Empty", "0"), SECOND: ("Empty", "0")}, "states, members")
    said = groups(tools, "--delete", "--group", GROUP, "--group", SECOND)
    assert re.fullmatch(r"Deletion of requested consumer groups \(.+\) was successful\.", said[-1]), f"{said}"
    equal([line for line in groups(tools, "--list") if line in (GROUP, SECOND)], [], "groups left of them")


def blocks(lines):
    """The tables of several groups, each from its headings on."""
    starts = [at for at, line in enumerate(lines) if line.startswith("GROUP ")]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield [line for line in lines[start:end] if not line.startswith("Consumer group ")]
