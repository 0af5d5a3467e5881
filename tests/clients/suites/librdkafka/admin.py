"""Topics and the cluster through librdkafka's administrator."""

import time
import uuid

from confluent_kafka import ElectionType, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec

from harness.report import equal

from .cluster import LIMIT_S


def tests(suite, cluster):
    suite.test("admin-create-describe-delete", lambda: life(cluster))
    suite.test("admin-refusals", lambda: refusals(cluster))
    suite.test("admin-validate-only", lambda: validate_only(cluster))
    suite.test("admin-describe-configs", lambda: configs(cluster))
    suite.test("admin-more-partitions", lambda: more_partitions(cluster))
    suite.test("admin-alter-configs", lambda: alter_configs(cluster))
    suite.test("admin-elect-leaders", lambda: elect_leaders(cluster))
    suite.test("admin-describe-cluster", lambda: describe_cluster(cluster))
    suite.test("admin-list-offsets", lambda: list_offsets(cluster))
    suite.test("admin-metadata", lambda: metadata(cluster))


def refused(code, future):
    try:
        future.result(LIMIT_S)
    except KafkaException as error:
        equal(error.args[0].code(), code, f"error ({error.args[0]})")
        return
    raise AssertionError(f"not refused, expected {code}")


def life(cluster):
    name = cluster.topic("life", partitions=3, segment_bytes="1048576")
    described = cluster.admin.describe_topics(TopicCollection([name]))[name].result(LIMIT_S)
    equal(described.name, name, "name")
    assert str(described.topic_id), "no topic id"
    equal([part.id for part in described.partitions], [0, 1, 2], "partitions")
    for part in described.partitions:
        equal((len(part.replicas), len(part.isr), part.leader.id), (1, 1, part.replicas[0].id), "(replicas, in sync, leader)")
    equal(cluster.admin.delete_topics([name], operation_timeout=10)[name].result(LIMIT_S), None, "answer to delete")
    refused(KafkaError.UNKNOWN_TOPIC_OR_PART, cluster.admin.delete_topics([name], operation_timeout=10)[name])
    cluster.await_gone(name)


def refusals(cluster):
    def create(name, partitions=1, replication=1, **more):
        return cluster.admin.create_topics([NewTopic(name, partitions, replication, **more)])[name]

    refused(KafkaError.TOPIC_ALREADY_EXISTS, create(cluster.topic("twice")))
    fresh = cluster.fresh_name("refused")
    refused(KafkaError.TOPIC_EXCEPTION, create("two words"))
    refused(KafkaError.INVALID_REPLICATION_FACTOR, create(fresh, replication=2))
    refused(KafkaError.INVALID_CONFIG, create(fresh, config={"no.such.setting": "1"}))
    refused(KafkaError.UNKNOWN_TOPIC_OR_PART, cluster.admin.describe_topics(TopicCollection([fresh]))[fresh])


def validate_only(cluster):
    name = cluster.fresh_name("validated")
    cluster.admin.create_topics([NewTopic(name, 1, 1)], validate_only=True)[name].result(LIMIT_S)
    assert name not in cluster.admin.list_topics(timeout=LIMIT_S).topics, "validate-only created the topic"


def configs(cluster):
    name = cluster.topic("configs", segment_bytes="2097152")
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)
    found = cluster.admin.describe_configs([resource])[resource].result(LIMIT_S)
    equal(found["segment.bytes"].value, "2097152", "segment.bytes")
    equal(found["compression.type"].value, "producer", "compression.type")
    equal((found["segment.bytes"].is_default, found["compression.type"].is_default), (False, True), "counted as default")


def more_partitions(cluster):
    name = cluster.topic("grows")
    cluster.admin.create_partitions([NewPartitions(name, 3)])[name].result(LIMIT_S)
    cluster.await_topic(name, 3)
    refused(KafkaError.INVALID_PARTITIONS, cluster.admin.create_partitions([NewPartitions(name, 2)])[name])


def alter_configs(cluster):
    name = cluster.topic("altered", segment_bytes="2097152")

    def await_settings(*expected):
        deadline = time.monotonic() + LIMIT_S
        while True:
            resource = ConfigResource(ConfigResource.Type.TOPIC, name)
            entries = cluster.admin.describe_configs([resource])[resource].result(LIMIT_S)
            found = tuple(entries[key].value for key in ("segment.bytes", "max.message.bytes"))
            if found == expected:
                return
            assert time.monotonic() < deadline, f"{found}, not {expected}"
            time.sleep(0.02)

    def alter(key, value, kind):
        entry = ConfigEntry(key, value, incremental_operation=kind)
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
        return cluster.admin.incremental_alter_configs([resource])[resource]

    alter("max.message.bytes", "2000000", AlterConfigOpType.SET).result(LIMIT_S)
    await_settings("2097152", "2000000")
    alter("segment.bytes", None, AlterConfigOpType.DELETE).result(LIMIT_S)
    await_settings("1073741824", "2000000")
    refused(KafkaError.INVALID_CONFIG, alter("no.such.setting", "1", AlterConfigOpType.SET))


def elect_leaders(cluster):
    at = TopicPartition(cluster.topic("led"), 0)
    told = cluster.admin.elect_leaders(ElectionType.PREFERRED, [at]).result(LIMIT_S)
    equal([error.code() for error in told.values()], [KafkaError.ELECTION_NOT_NEEDED], "told of a partition that is led")


def describe_cluster(cluster):
    found = cluster.admin.describe_cluster().result(LIMIT_S)
    assert found.cluster_id, "no cluster id"
    equal([f"{node.host}:{node.port}" for node in found.nodes], [cluster.bootstrap], "nodes")
    equal(found.controller.id, found.nodes[0].id, "controller")


def list_offsets(cluster):
    name = cluster.topic("offsets")
    cluster.send(name, [{"value": b"x", "timestamp": 1_700_000_000_000 + at} for at in (5, 9, 7)])
    at = TopicPartition(name, 0)
    for spec, offset in ((OffsetSpec.earliest(), 0), (OffsetSpec.latest(), 3), (OffsetSpec.max_timestamp(), 1),
                         (OffsetSpec.for_timestamp(1_700_000_000_006), 1), (OffsetSpec.for_timestamp(1_800_000_000_000), -1)):
        equal(cluster.admin.list_offsets({at: spec})[at].result(LIMIT_S).offset, offset, f"offset by {spec}")
    nowhere = TopicPartition(f"nowhere-{uuid.uuid4()}", 0)
    # librdkafka looks for the leader first, and says in words of its own that there is none.
    refused(KafkaError._NOENT, cluster.admin.list_offsets({nowhere: OffsetSpec.latest()}, request_timeout=5)[nowhere])


def metadata(cluster):
    name = cluster.topic("metadata", partitions=2)
    found = cluster.admin.list_topics(timeout=LIMIT_S)
    equal([f"{node.host}:{node.port}" for node in found.brokers.values()], [cluster.bootstrap], "brokers")
    equal(found.controller_id, next(iter(found.brokers)), "controller")
    equal(sorted(found.topics[name].partitions), [0, 1], "partitions")
    for part in found.topics[name].partitions.values():
        equal((part.leader, part.replicas, part.isrs), (found.controller_id, [found.controller_id], [found.controller_id]), "partition")
