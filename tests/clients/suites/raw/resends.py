"""Idempotent producers: a batch sent again is never appended twice, and is answered as it was the first time."""

import threading

from harness.report import equal
from wire.client import PRODUCE, produce_body
from wire.records import CODEC_GZIP, Batch

OUT_OF_ORDER_SEQUENCE, INVALID_PRODUCER_EPOCH = 45, 47
LAST_SEQUENCE = 2**31 - 1
WINDOW = 5


def tests(suite, world):
    def on_topic(name, body):
        """The body gets a client, a fresh topic and a fresh producer id."""

        def run():
            with world.client() as client:
                body(world, client, client.create_topic(name), client.producer_id())

        suite.test(name, run)

    on_topic("resend-of-each-of-the-last-five", each_of_the_last_five)
    on_topic("resend-on-a-second-connection", second_connection)
    on_topic("resend-at-once-on-one-connection", at_once)
    on_topic("resend-200-times-in-parallel", parallel)
    on_topic("resend-200-times-in-parallel-of-last-five", parallel_of_last_five)
    on_topic("resend-at-every-acks", every_acks)
    on_topic("resend-compressed", compressed)
    on_topic("resend-older-than-the-window", older_than_window)
    on_topic("resend-of-a-part-is-out-of-order", part)
    on_topic("sequence-gap", gap)
    on_topic("sequence-of-new-producer-is-free", first_sequence)
    on_topic("sequence-wraps-between-batches", wrap_between)
    on_topic("sequence-wraps-within-a-batch", wrap_within)
    on_topic("sequences-are-per-producer-and-partition", per_producer_and_partition)
    on_topic("epoch-old", old_epoch)
    on_topic("epoch-new-begins-at-zero", new_epoch)
    on_topic("epoch-new-forgets-the-window", new_epoch_forgets)
    on_topic("one-request-many-partitions", many_partitions)
    suite.test("producer-ids-are-distinct", lambda: distinct_ids(world))


def numbered(producer_id, sequence, count=1, epoch=0, **more):
    values = [f"{producer_id}/{sequence + i}".encode() for i in range(count)]
    return Batch(values=values, producer_id=producer_id, epoch=epoch, sequence=sequence, **more)


def fill(client, topic, producer_id, batches, records_each):
    """Appends batches of as many records each; gives them with their base offsets."""
    sent = []
    for at in range(batches):
        batch = numbered(producer_id, at * records_each, records_each)
        offset = client.appended(topic, batch)
        equal(offset, at * records_each, f"base offset of batch {at}")
        sent.append((batch, offset))
    return sent


def each_of_the_last_five(world, client, topic, producer_id):
    sent = fill(client, topic, producer_id, 8, 3)
    for batch, offset in sent[-WINDOW:] + sent[:-WINDOW - 1:-1]:
        equal(client.appended(topic, batch), offset, f"answer to the batch at {offset} sent again")
    equal(client.end_offset(topic), 24, "end of the log")
    equal(client.appended(topic, numbered(producer_id, 24)), 24, "the next batch")


def second_connection(world, client, topic, producer_id):
    sent = fill(client, topic, producer_id, 5, 2)
    with world.client("another") as other:
        for batch, offset in reversed(sent):
            equal(other.appended(topic, batch), offset, f"answer to the batch at {offset} sent again")
        equal(other.appended(topic, numbered(producer_id, 10)), 10, "the next batch")
    equal(client.end_offset(topic), 11, "end of the log")


def at_once(world, client, topic, producer_id):
    batch = numbered(producer_id, 0, 4)
    asked = produce_body([(topic, 0, batch)])
    ids = list(range(1000, 1020))
    client.send_bytes(b"".join(client.frame("Produce", PRODUCE, asked, each) for each in ids))
    for each in ids:
        answer = client.receive("Produce", PRODUCE, each)["Responses"][0]["PartitionResponses"][0]
        equal((answer["ErrorCode"], answer["BaseOffset"]), (0, 0), "(error, base offset)")
    equal(client.end_offset(topic), 4, "end of the log")


def race(world, topic, batches):
    """Each batch on a connection of its own, all let go at one moment; gives (error, base offset) of each."""
    frames = [produce_body([(topic, 0, batch)]) for batch in batches]
    start = threading.Barrier(len(batches))
    answers = [None] * len(batches)

    def one(at):
        with world.client(f"racer-{at}") as client:
            start.wait(60)
            answer = client.call("Produce", PRODUCE, frames[at])["Responses"][0]["PartitionResponses"][0]
            answers[at] = (answer["ErrorCode"], answer["BaseOffset"])

    threads = [threading.Thread(target=one, args=(at,), daemon=True) for at in range(len(batches))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return answers


def parallel(world, client, topic, producer_id):
    client.appended(topic, numbered(producer_id, 0, 7))
    # Not appended yet: exactly one of the two hundred is the first.
    equal(set(race(world, topic, [numbered(producer_id, 7, 3)] * 200)), {(0, 7)}, "(error, base offset) of all")
    equal(client.end_offset(topic), 10, "end of the log")
    equal([(base, count) for base, count, _ in client.log(topic)], [(0, 7), (7, 3)], "batches in the log")


def parallel_of_last_five(world, client, topic, producer_id):
    sent = fill(client, topic, producer_id, 7, 2)[-WINDOW:]
    racing = [sent[at % WINDOW] for at in range(200)]
    answers = race(world, topic, [batch for batch, _ in racing])
    equal(answers, [(0, offset) for _, offset in racing], "(error, base offset) of all")
    equal(client.end_offset(topic), 14, "end of the log")


def every_acks(world, client, topic, producer_id):
    batch = numbered(producer_id, 0, 2)
    for acks in (1, -1, 1):
        equal(client.appended(topic, batch, acks), 0, f"answer at acks={acks}")
    client.send("Produce", PRODUCE, produce_body([(topic, 0, batch)], acks=0))
    # No answer to the last one, and it was no error either: the connection still serves.
    equal(client.end_offset(topic), 2, "end of the log")


def compressed(world, client, topic, producer_id):
    batch = numbered(producer_id, 0, 50, attributes=CODEC_GZIP)
    for _ in range(3):
        equal(client.appended(topic, batch), 0, "base offset")
    equal(client.end_offset(topic), 50, "end of the log")


def older_than_window(world, client, topic, producer_id):
    sent = fill(client, topic, producer_id, 6, 1)
    equal(client.produce(topic, sent[0][0])["ErrorCode"], OUT_OF_ORDER_SEQUENCE, "the sixth from the end")
    equal(client.appended(topic, sent[1][0]), 1, "the fifth from the end")
    equal(client.end_offset(topic), 6, "end of the log")


def part(world, client, topic, producer_id):
    fill(client, topic, producer_id, 1, 5)
    # Same producer, overlapping sequences, but not the same batch: nothing of it may be taken for a duplicate.
    for first, count in ((0, 4), (1, 4), (0, 6), (4, 1), (4, 2)):
        equal(client.produce(topic, numbered(producer_id, first, count))["ErrorCode"], OUT_OF_ORDER_SEQUENCE, f"sequences {first}+{count}")
    equal(client.end_offset(topic), 5, "end of the log")


def gap(world, client, topic, producer_id):
    fill(client, topic, producer_id, 1, 3)
    for ahead in (4, 5, 1000, LAST_SEQUENCE):
        answer = client.produce(topic, numbered(producer_id, ahead))
        equal((answer["ErrorCode"], answer["BaseOffset"]), (OUT_OF_ORDER_SEQUENCE, -1), f"(error, base offset) at sequence {ahead}")
    equal(client.appended(topic, numbered(producer_id, 3)), 3, "the sequence that was missing")


def first_sequence(world, client, topic, producer_id):
    equal(client.appended(topic, numbered(producer_id, 77)), 0, "a producer unknown here begins where it likes")
    equal(client.produce(topic, numbered(producer_id, 79))["ErrorCode"], OUT_OF_ORDER_SEQUENCE, "a gap after it")
    equal(client.appended(topic, numbered(producer_id, 78)), 1, "the next")


def wrap_between(world, client, topic, producer_id):
    last = numbered(producer_id, LAST_SEQUENCE - 1, 2)
    equal(client.appended(topic, last), 0, "up to the largest sequence")
    first = numbered(producer_id, 0, 2)
    equal(client.appended(topic, first), 2, "zero follows it")
    equal(client.appended(topic, last), 0, "the batch before the wrap, again")
    equal(client.appended(topic, first), 2, "the batch after the wrap, again")
    equal(client.produce(topic, numbered(producer_id, 3))["ErrorCode"], OUT_OF_ORDER_SEQUENCE, "a gap after the wrap")


def wrap_within(world, client, topic, producer_id):
    across = numbered(producer_id, LAST_SEQUENCE, 3)
    equal(client.appended(topic, across), 0, "a batch across the wrap")
    equal(client.appended(topic, across), 0, "the same again")
    equal(client.produce(topic, numbered(producer_id, 3))["ErrorCode"], OUT_OF_ORDER_SEQUENCE, "sequence 3 after 1")
    equal(client.appended(topic, numbered(producer_id, 2)), 3, "sequence 2 after 1")


def per_producer_and_partition(world, client, topic, producer_id):
    wide = client.create_topic("wide", partitions=2)
    other = client.producer_id()
    equal(client.appended(wide, numbered(producer_id, 0), partition=0), 0, "first producer")
    equal(client.appended(wide, numbered(other, 0), partition=0), 1, "second producer, same sequence")
    equal(client.appended(wide, numbered(producer_id, 0), partition=1), 0, "first producer, other partition")
    equal(client.appended(wide, numbered(other, 0), partition=0), 1, "second producer again")
    equal(client.appended(wide, Batch()), 2, "a producer without id")
    equal(client.appended(wide, Batch()), 3, "the same bytes without id are another batch")


def old_epoch(world, client, topic, producer_id):
    equal(client.appended(topic, numbered(producer_id, 0, epoch=3)), 0, "epoch 3")
    for epoch in (2, 0):
        answer = client.produce(topic, numbered(producer_id, 1, epoch=epoch))
        equal((answer["ErrorCode"], answer["BaseOffset"]), (INVALID_PRODUCER_EPOCH, -1), f"(error, base offset) at epoch {epoch}")
    # Not a duplicate either: the same sequence under another epoch is another batch.
    equal(client.produce(topic, numbered(producer_id, 0, epoch=2))["ErrorCode"], INVALID_PRODUCER_EPOCH, "the same sequence")
    equal(client.end_offset(topic), 1, "end of the log")


def new_epoch(world, client, topic, producer_id):
    fill(client, topic, producer_id, 3, 1)
    equal(client.produce(topic, numbered(producer_id, 3, epoch=1))["ErrorCode"], OUT_OF_ORDER_SEQUENCE, "the next sequence, new epoch")
    equal(client.appended(topic, numbered(producer_id, 3)), 3, "the old epoch was not left")
    equal(client.appended(topic, numbered(producer_id, 0, epoch=1)), 4, "sequence 0, new epoch")
    equal(client.produce(topic, numbered(producer_id, 4))["ErrorCode"], INVALID_PRODUCER_EPOCH, "the old epoch")


def new_epoch_forgets(world, client, topic, producer_id):
    sent = fill(client, topic, producer_id, 2, 1)
    fresh = numbered(producer_id, 0, epoch=1)
    equal(client.appended(topic, fresh), 2, "sequence 0, new epoch")
    equal(client.produce(topic, sent[1][0])["ErrorCode"], INVALID_PRODUCER_EPOCH, "a batch of the old epoch, again")
    equal(client.appended(topic, fresh), 2, "the batch of the new epoch, again")


def many_partitions(world, client, topic, producer_id):
    wide = client.create_topic("fan", partitions=4)
    for partition in range(4):
        client.appended(wide, numbered(producer_id, 0, 2), partition=partition)
    entries = [(wide, 0, numbered(producer_id, 2)), (wide, 1, numbered(producer_id, 0, 2)),
               (wide, 2, numbered(producer_id, 9)), (wide, 3, numbered(producer_id, 0, 2, epoch=1))]
    answers = client.call("Produce", PRODUCE, produce_body(entries))["Responses"][0]["PartitionResponses"]
    found = sorted((each["Index"], each["ErrorCode"], each["BaseOffset"]) for each in answers)
    equal(found, [(0, 0, 2), (1, 0, 0), (2, OUT_OF_ORDER_SEQUENCE, -1), (3, 0, 2)], "(partition, error, base offset)")
    equal([client.end_offset(wide, partition) for partition in range(4)], [3, 2, 2, 4], "ends of the logs")


def distinct_ids(world):
    found, lock = [], threading.Lock()

    def ask():
        with world.client() as client:
            for _ in range(20):
                answer = client.producer_id()
                with lock:
                    found.append(answer)

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(10)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    equal(len(found), 200, "answers")
    equal(len(set(found)), 200, "distinct producer ids")
