"""The same requests to the broker under test and to Apache Kafka: answers must agree, code by code and field by field.

With Kafka itself as the target it is held against another Kafka: what differs there the comparison should not look at.
"""

import contextlib

from harness.broker import Kafka

from . import admin_cases, cluster_cases, config_cases, consumer_group_cases, deletion_cases, fetch_cases, group_cases, migration_cases, offset_cases, produce_cases, topic_cases
from .differences import Differences
from .side import Side, compare_case

# Topics come late: until then both sides have the same ones. Looking for a coordinator makes an internal topic.
PARTS = (cluster_cases, produce_cases, fetch_cases, offset_cases, deletion_cases, config_cases, admin_cases, topic_cases, group_cases,
         consumer_group_cases, migration_cases)


# What Highwater quickens, so that both sides come to the same answers in the same steps.
QUICK = {"group.consumer.min.heartbeat.interval.ms": 100, "group.consumer.heartbeat.interval.ms": 500,
         "group.consumer.min.assignment.interval.ms": 0, "group.consumer.assignment.interval.ms": 0}


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
        if suite.wanted is None and target is not Kafka:
            suite.test("differences-listed-all-occur", differences.check_all_occur)
