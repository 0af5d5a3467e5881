"""Topics, settings and the cluster through kafka-python's administrator."""

import uuid

from kafka import TopicPartition, errors
from kafka.admin import ConfigResource, OffsetSpec

from harness.report import equal
from suites.samples import mixed

from .cluster import eventually

ELECTION_NOT_NEEDED = 84


def tests(suite, cluster):
    suite.test("admin-topics", lambda: topics(cluster))
    suite.test("admin-refusals", lambda: refusals(cluster))
    suite.test("admin-configs", lambda: configs(cluster))
    suite.test("admin-more-partitions", lambda: more_partitions(cluster))
    suite.test("admin-alter-configs", lambda: alter_configs(cluster))
    suite.test("admin-log-dirs-features-and-elections", lambda: node(cluster))
    suite.test("admin-records", lambda: records(cluster))
    suite.test("admin-cluster", lambda: describe_cluster(cluster))


def refused(expected, call):
    try:
        call()
    except expected:
        return
    raise AssertionError(f"not refused, expected {expected.__name__}")


def topics(cluster):
    name = cluster.topic("life", partitions=3)
    assert name in cluster.admin.list_topics(), "the topic is not listed"
    described = cluster.admin.describe_topics([name])[0]
    equal(sorted(part["partition_index"] for part in described["partitions"]), [0, 1, 2], "partitions")
    for part in described["partitions"]:
        equal((part["replica_nodes"], part["isr_nodes"]), ([part["leader_id"]], [part["leader_id"]]), "replicas, and those in sync")
    cluster.admin.create_topics({cluster.fresh_name("validated"): {"num_partitions": 1, "replication_factor": 1}}, validate_only=True)
    cluster.admin.delete_topics([name])
    refused(errors.UnknownTopicOrPartitionError, lambda: cluster.admin.delete_topics([name]))
    eventually("the deleted topic is gone", lambda: name not in cluster.admin.list_topics())
    by_id = cluster.topic("by-id")
    cluster.admin.delete_topics([uuid.UUID(cluster.admin.describe_topics([by_id])[0]["topic_id"])])
    eventually("the topic deleted by id is gone", lambda: by_id not in cluster.admin.list_topics())
    assert not [each for each in cluster.admin.list_topics() if "validated" in each], "a topic came from validate_only"


def refusals(cluster):
    name = cluster.topic("twice")

    def create(topic, replicas=1, **configs):
        return lambda: cluster.admin.create_topics({topic: {"num_partitions": 1, "replication_factor": replicas, "configs": configs}})

    refused(errors.TopicAlreadyExistsError, create(name))
    refused(errors.InvalidTopicError, create("two words"))
    refused(errors.InvalidReplicationFactorError, create("kafka-python-replicated", 2))
    refused(errors.InvalidConfigurationError, create("kafka-python-config", **{"no.such.setting": "1"}))


def configs(cluster):
    name = cluster.topic("configs", segment_bytes="2097152")
    asked = [ConfigResource("TOPIC", name, ["segment.bytes", "compression.type"])]
    found = cluster.admin.describe_configs(asked, config_filter="all")["topic"][name]
    equal({key: (entry["value"], entry["config_source"]) for key, entry in found.items()},
          {"segment.bytes": ("2097152", "DYNAMIC_TOPIC_CONFIG"), "compression.type": ("producer", "DEFAULT_CONFIG")}, "settings")


def more_partitions(cluster):
    name = cluster.topic("grows")
    cluster.admin.create_partitions({name: 3})
    eventually("three partitions", lambda: len(cluster.admin.describe_topics([name])[0]["partitions"]) == 3)
    refused(errors.InvalidPartitionsError, lambda: cluster.admin.create_partitions({name: 2}))


def alter_configs(cluster):
    name = cluster.topic("altered", segment_bytes="2097152")

    def own():
        return {key: entry["value"] for key, entry in cluster.admin.describe_configs([ConfigResource("TOPIC", name)])["topic"][name].items()}

    cluster.admin.alter_configs([ConfigResource("TOPIC", name, {"max.message.bytes": "2000000"})])
    eventually("a setting more", lambda: own() == {"segment.bytes": "2097152", "max.message.bytes": "2000000"})
    cluster.admin.reset_configs([ConfigResource("TOPIC", name, ["segment.bytes"])])
    eventually("a setting less", lambda: own() == {"max.message.bytes": "2000000"})
    refused(ValueError, lambda: cluster.admin.alter_configs([ConfigResource("TOPIC", name, {"no.such.setting": "1"})]))
    assert name in cluster.admin.list_config_resources(["TOPIC"])["topic"], "the topic is not among those with settings"


def node(cluster):
    topic = cluster.topic("on-disk")
    cluster.send(topic, mixed(200))
    [one] = cluster.admin.describe_log_dirs({topic: [0]})
    [folder] = one["log_dirs"]
    equal((folder["error_code"], [each["name"] for each in folder["topics"]]), (0, [topic]), "error, topics")
    assert folder["topics"][0]["partitions"][0]["partition_size"] > 10_000, f"{folder}"
    found = cluster.admin.describe_features()
    assert "group.version" in str(found), f"features {found}"
    told = cluster.admin.elect_leaders(0, {topic: [0]})
    equal([each.error_code for one in told.replica_election_results for each in one.partition_result], [ELECTION_NOT_NEEDED], "told of an election")


def records(cluster):
    topic = cluster.topic("records")
    cluster.send(topic, mixed(20))
    at = TopicPartition(topic, 0)
    cluster.admin.delete_records({at: 15})
    ends = {spec: cluster.admin.list_partition_offsets({at: spec})[at].offset for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST, OffsetSpec.MAX_TIMESTAMP)}
    equal(list(ends.values()), [15, 20, 19], "earliest, latest, of the largest time")


def describe_cluster(cluster):
    found = cluster.admin.describe_cluster()
    equal([f"{broker['host']}:{broker['port']}" for broker in found["brokers"]], [cluster.bootstrap], "brokers")
    assert found["cluster_id"], "no cluster id"
