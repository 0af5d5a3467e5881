"""The same requests to the broker under test and to Apache Kafka: answers must agree, code by code and field by field.

With Kafka itself as the target it is held against another Kafka: what differs there the comparison should not look at.
"""

import contextlib

from harness.broker import Kafka

from . import admin_cases, cluster_cases, config_cases, consumer_group_cases, deletion_cases, fetch_cases, group_cases, migration_cases, offset_cases, produce_cases, topic_cases, transaction_cases
from .differences import Differences
from .side import Side, compare_case
from .transactions import TOPIC, compare_scene, prepare

# Topics come late: until then both sides have the same ones. Looking for a coordinator makes an internal topic.
PARTS = (cluster_cases, produce_cases, fetch_cases, offset_cases, deletion_cases, config_cases, admin_cases, topic_cases, group_cases,
         consumer_group_cases, migration_cases)


# What Highwater quickens, so that both sides come to the same answers in the same steps.
QUICK = {"group.consumer.min.heartbeat.interval.ms": 100, "group.consumer.heartbeat.interval.ms": 500,
         "group.consumer.min.assignment.interval.ms": 0, "group.consumer.assignment.interval.ms": 0,
         "transaction.abort.timed.out.transaction.cleanup.interval.ms": 20}
# The protocol of transactions before KIP-890.
BEFORE = {"transaction.version": 1}


def run(suite, target):
    brokers = []
    with contextlib.ExitStack() as cleanup:
        for kind in (target, Kafka):
            broker = kind(QUICK if kind is Kafka else None)
            cleanup.callback(broker.remove)
            brokers.append(broker.start())
        differences = Differences() if target is not Kafka else Differences(known=[])
        subject, reference = Side(brokers[0]), Side(brokers[1])
        for part in PARTS:
            for case in part.cases():
                suite.test(case.name, lambda case=case: compare_case(case, subject, reference, differences))
        # Each case had a connection of its own.
        for side in (subject, reference):
            side.client = side.connect()
        play(suite, transaction_cases.scenes(), subject, reference, differences)
        before = [scene for scene in transaction_cases.scenes_before() if suite.wants(test_name(scene))]
        if before:
            # Kafka goes back while it runs, which is quicker than another one.
            reference.set_features(BEFORE)
            older = target(QUICK if target is Kafka else None, BEFORE)
            cleanup.callback(older.remove)
            play(suite, before, Side(older.start()), reference, differences)
        if suite.wanted is None and target is not Kafka:
            suite.test("differences-listed-all-occur", differences.check_all_occur)


def play(suite, scenes, subject, reference, differences):
    scenes = [scene for scene in scenes if suite.wants(test_name(scene))]
    for side in (subject, reference) if scenes else ():
        if TOPIC not in side.ids.values():
            prepare(side)
    for scene in scenes:
        suite.test(test_name(scene), lambda scene=scene: compare_scene(scene, subject, reference, differences))


def test_name(scene):
    return f"transactions/{scene.name}"
