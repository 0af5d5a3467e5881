"""kafka-transactions, what the console consumer and DumpLogSegments show of transactions, and Kafka's own copier, which is told to stop."""

import json
import re

from confluent_kafka import Producer

from harness.report import equal

from .console import consume

TOPIC, COPY, ID = "tools-transactions", "tools-copy", "tools-id"
STATE_TOPIC = "__transaction_state"
LIMIT_S = 30
RECORDS = 60


def tests(suite, tools):
    suite.test("transactions-list-and-describe", lambda: described(tools))
    suite.test("transactions-producers-and-abort", lambda: aborted(tools))
    suite.test("transactions-force-terminate", lambda: terminated(tools))
    suite.test("transactions-in-the-console", lambda: shown(tools))
    suite.test("transactional-message-copier", lambda: copied(tools))
    suite.test("transactions-in-the-log-of-the-coordinator", lambda: coordinator_log(tools))


def command(tools, *arguments, **more):
    return tools.on_broker("TransactionsCommand", *arguments, **more)


def table(lines):
    """The rows of a printed table by the names of its columns. A column may be empty only at the end."""
    names = lines[0].split()
    return [dict(zip(names, [*line.split(), ""], strict=False)) for line in lines[1:] if line.strip()]


def producer(tools, name):
    made = Producer({"bootstrap.servers": tools.broker.bootstrap, "transactional.id": name, "log_level": 2})
    made.init_transactions(LIMIT_S)
    return made


def write(made, topic, *values):
    made.begin_transaction()
    for value in values:
        made.produce(topic, value, partition=0)
    equal(made.flush(LIMIT_S), 0, "records without an answer")


def described(tools):
    tools.create(TOPIC)
    made = producer(tools, f"{ID}-described")
    write(made, TOPIC, b"a")
    [row] = [row for row in table(command(tools, "list")) if row["TransactionalId"] == f"{ID}-described"]
    equal((row["Coordinator"], row["TransactionState"]), ("0", "Ongoing"), "coordinator and state")
    [more] = table(command(tools, "describe", "--transactional-id", f"{ID}-described"))
    equal({name: more[name] for name in ("CoordinatorId", "TransactionalId", "ProducerId", "ProducerEpoch", "TransactionState", "TransactionTimeoutMs", "TopicPartitions")},
          {"CoordinatorId": "0", "TransactionalId": f"{ID}-described", "ProducerId": row["ProducerId"], "ProducerEpoch": "0", "TransactionState": "Ongoing",
           "TransactionTimeoutMs": "60000", "TopicPartitions": f"{TOPIC}-0"}, "what is described")
    assert 0 <= int(more["TransactionDurationMs"]) < 60_000, f"it runs since {more['TransactionDurationMs']} ms"
    ids = [each["TransactionalId"] for each in table(command(tools, "list", "--transactional-id-pattern", f"{ID}-.*"))]
    equal(ids, [f"{ID}-described"], "by pattern")
    # What hangs is what its coordinator knows nothing of; this one it knows.
    equal(table(command(tools, "find-hanging", "--topic", TOPIC, "--partition", 0)), [], "hanging transactions")
    made.commit_transaction(LIMIT_S)
    said = "\n".join(command(tools, "describe", "--transactional-id", "tools-nobody", expect=1))
    assert "the ID could not be found" in said, f"an id that is not there: {said}"


def aborted(tools):
    """By hand: the marker is written around the coordinator, and readers go on."""
    topic, start = f"{TOPIC}-aborted", 0
    tools.create(topic)
    write(producer(tools, f"{ID}-aborted"), topic, b"never seen")
    [open_one] = [row for row in table(command(tools, "describe-producers", "--topic", topic, "--partition", 0)) if row["CurrentTransactionStartOffset"] == str(start)]
    equal((open_one["ProducerEpoch"], open_one["LastSequence"]), ("0", "0"), "epoch and last sequence")
    command(tools, "abort", "--topic", topic, "--partition", 0, "--start-offset", start)
    left = [row["CurrentTransactionStartOffset"] for row in table(command(tools, "describe-producers", "--topic", topic, "--partition", 0))]
    assert set(left) == {"None"}, f"open at {left}"
    said = "\n".join(command(tools, "abort", "--topic", topic, "--partition", 0, "--start-offset", start, expect=1))
    assert "Could not find any open transactions" in said, f"again: {said}"


def terminated(tools):
    """By its id: the coordinator aborts, and whoever had begun is fenced."""
    name, topic = f"{ID}-terminated", f"{TOPIC}-terminated"
    tools.create(topic)
    write(producer(tools, name), topic, b"never seen")
    command(tools, "forceTerminateTransaction", "--transactionalId", name)
    [now] = table(command(tools, "describe", "--transactional-id", name))
    assert now["TransactionState"] in ("CompleteAbort", "Empty"), f"it is {now}"
    assert int(now["ProducerEpoch"]) > 0, f"nobody is fenced: {now}"


def shown(tools):
    """The console consumer of either isolation."""
    topic = f"{TOPIC}-shown"
    tools.create(topic)
    made = producer(tools, f"{ID}-shown")
    write(made, topic, b"aborted")
    made.abort_transaction(LIMIT_S)
    write(made, topic, b"committed")
    made.commit_transaction(LIMIT_S)
    equal(consume(tools, topic, 1, "--isolation-level", "read_committed"), ["committed"], "committed")
    equal(consume(tools, topic, 2), ["aborted", "committed"], "all")


def copied(tools):
    """Kafka's own consume-transform-produce, with aborts at random: what it read comes out once, in order."""
    tools.create(f"{TOPIC}-in")
    tools.create(COPY)
    made = producer(tools, f"{ID}-source")
    write(made, f"{TOPIC}-in", *(b"%d" % number for number in range(RECORDS)))
    made.commit_transaction(LIMIT_S)
    said = tools.run("TransactionalMessageCopier", "--broker-list", tools.broker.bootstrap, "--input-topic", f"{TOPIC}-in", "--input-partition", 0,
                     "--output-topic", COPY, "--max-messages", RECORDS, "--consumer-group", "tools-copiers", "--transaction-size", 7,
                     "--transactional-id", f"{ID}-copier", "--enable-random-aborts", "--use-group-metadata", notices=None)
    last = [json.loads(line) for line in said if line.startswith("{")][-1]
    equal((last["remaining"], last["stage"]), (0, "ShutdownComplete"), "what it says at last")
    equal(consume(tools, COPY, RECORDS, "--isolation-level", "read_committed"), [str(number) for number in range(RECORDS)], "the copy")


def coordinator_log(tools):
    """The coordinator's log is in Kafka's format: its formatter and DumpLogSegments read it."""
    name = f"{ID}-logged"
    tools.create(f"{TOPIC}-logged")
    made = producer(tools, name)
    write(made, f"{TOPIC}-logged", b"a")
    made.commit_transaction(LIMIT_S)
    while command(tools, "describe", "--transactional-id", name)[1].split()[4] != "CompleteCommit":
        pass
    partition = partition_of(name)
    count = tools.offsets(STATE_TOPIC)[partition]
    formatter = ("--formatter", "org.apache.kafka.tools.consumer.TransactionLogMessageFormatter")
    # It ends no lines.
    said = "".join(consume(tools, STATE_TOPIC, count, *formatter, partition=partition))
    records = json.loads(f"[{said.replace('}{', '},{')}]")
    own = [each["value"]["data"] for each in records if each["key"]["data"]["transactionalId"] == name]
    equal([each["transactionStatus"] for each in own], [0, 1, 2, 4], "statuses")
    equal([part["topic"] for part in own[1]["transactionPartitions"]], [f"{TOPIC}-logged"], "partitions")
    folder = tools.broker.partition_folder(STATE_TOPIC, partition)
    dumped = tools.run("DumpLogSegments", "--transaction-log-decoder", "--files", folder / f"{0:020}.log")
    found = [re.search(r'"transactionStatus":(\d+)', line)[1] for line in dumped if f'"transactionalId":"{name}"' in line]
    equal(found, ["0", "1", "2", "4"], "statuses in the dump")


def partition_of(name, partitions=50):
    """As a String is hashed in Java."""
    value = 0
    for each in name:
        value = (31 * value + ord(each)) & 0xFFFFFFFF
    return abs(value - (1 << 32) if value >> 31 else value) % partitions
