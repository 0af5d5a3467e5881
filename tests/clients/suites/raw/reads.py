"""Fetches at, past and before the ends, waiting ones, and how limits are kept."""

import threading

from harness.report import equal
from wire.client import FETCH, fetch_body
from wire.connection import Closed
from wire.records import Batch, batches

OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION = 1, 3
LONG_WAIT_MS = 20_000


def tests(suite, world):
    suite.test("fetch-past-the-end", lambda: past_the_end(world))
    suite.test("fetch-from-within-a-batch", lambda: within_a_batch(world))
    suite.test("fetch-gives-the-first-batch-whole", lambda: first_batch_whole(world))
    suite.test("fetch-keeps-its-limits", lambda: limits(world))
    suite.test("fetch-waits-for-an-append", lambda: waits(world))
    suite.test("fetch-waits-for-enough-bytes", lambda: waits_for_bytes(world))
    suite.test("fetch-with-an-error-does-not-wait", lambda: error_does_not_wait(world))
    suite.test("fetch-of-a-closed-connection-is-forgotten", lambda: forgotten(world))


def filled(client, about, count, size=5, **settings):
    topic = client.create_topic(about, **settings)
    for _ in range(count):
        client.appended(topic, Batch(values=[bytes(size)]))
    return topic


def past_the_end(world):
    with world.client() as client:
        topic = filled(client, "past", 3)
        for offset in (4, 1000, 2**63 - 1, -1, -5):
            answer = client.fetch(topic, offset)
            equal((answer["ErrorCode"], answer["HighWatermark"]), (OFFSET_OUT_OF_RANGE, -1), f"(error, high watermark) at {offset}")
        answer = client.fetch(topic, 3)
        equal((answer["ErrorCode"], answer["HighWatermark"], answer["Records"]), (0, 3, b""), "(error, high watermark, records) at the end")
        equal(client.fetch(topic, 0, partition=1)["ErrorCode"], UNKNOWN_TOPIC_OR_PARTITION, "error of an unknown partition")


def within_a_batch(world):
    with world.client() as client:
        topic = client.create_topic("within")
        for _ in range(3):
            client.appended(topic, Batch(values=[b"x"] * 10))
        for offset, base in ((0, 0), (9, 0), (10, 10), (15, 10), (29, 20)):
            equal(batches(client.fetch(topic, offset)["Records"])[0][0], base, f"first batch at {offset}")


def first_batch_whole(world):
    with world.client() as client:
        topic = filled(client, "whole", 2, size=5000)
        for limit in (0, 1, 100, 5000):
            found = client.fetch(topic, 0, max_bytes=limit, partition_max_bytes=limit)
            equal([base for base, _, _ in batches(found["Records"])], [0], f"batches at a limit of {limit}")


def limits(world):
    with world.client() as client:
        topic = filled(client, "limits", 10, size=1000)
        size = len(client.log(topic)[0][2])
        for whole in (1, 2, 5):
            for extra in (0, size // 2):
                found = client.fetch(topic, 0, partition_max_bytes=whole * size + extra)["Records"]
                equal(len(batches(found)), whole, f"whole batches within {whole} sizes and {extra} bytes")
                assert len(found) <= whole * size + extra, f"{len(found)} bytes, more than {whole * size + extra}"


def waits(world):
    with world.client() as client, world.client() as reader:
        topic = filled(client, "waits", 1)
        asked = reader.send("Fetch", FETCH, fetch_body(topic, 1, max_wait_ms=LONG_WAIT_MS))
        client.appended(topic, Batch(values=[b"awaited"]))
        answer = reader.receive("Fetch", FETCH, asked)["Responses"][0]["Partitions"][0]
        equal([base for base, _, _ in batches(answer["Records"])], [1], "batches")
        equal(answer["HighWatermark"], 2, "high watermark")


def waits_for_bytes(world):
    with world.client() as client, world.client() as reader:
        topic = filled(client, "bytes", 0)
        asked = reader.send("Fetch", FETCH, fetch_body(topic, 0, max_wait_ms=LONG_WAIT_MS, min_bytes=3000))
        for _ in range(3):
            client.appended(topic, Batch(values=[bytes(1000)]))
        answer = reader.receive("Fetch", FETCH, asked)["Responses"][0]["Partitions"][0]
        assert len(answer["Records"]) >= 3000, f"{len(answer['Records'])} bytes, fewer than asked for"


def error_does_not_wait(world):
    with world.client() as client:
        topic = filled(client, "error", 1)
        # Both longer than a test may take: an answer at all shows that nobody waited.
        answer = client.fetch(topic, 5, max_wait_ms=600_000)
        equal(answer["ErrorCode"], OFFSET_OUT_OF_RANGE, "error")
        answer = client.fetch("raw-nowhere", 0, max_wait_ms=600_000)
        equal(answer["ErrorCode"], UNKNOWN_TOPIC_OR_PARTITION, "error")


def forgotten(world):
    with world.client() as client:
        topic = filled(client, "forgotten", 1)
        for _ in range(50):
            with world.client() as gone:
                gone.send("Fetch", FETCH, fetch_body(topic, 1, max_wait_ms=600_000))
        done = threading.Event()

        def append():
            client.appended(topic, Batch())
            done.set()

        threading.Thread(target=append, daemon=True).start()
        if not done.wait(30):
            raise Closed("an append behind fetches nobody waits for did not end")
        equal(client.end_offset(topic), 2, "end of the log")
