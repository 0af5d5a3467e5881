"""Topics, settings and the cluster through aiokafka's administrator."""

from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidPartitionsError

from harness.report import equal
from suites.samples import mixed

from .cluster import eventually

TOPIC_EXISTS, INVALID_TOPIC, INVALID_REPLICATION, UNKNOWN_TOPIC = 36, 17, 38, 3


def tests(suite, cluster):
    suite.test("admin-topics", cluster.run(topics))
    suite.test("admin-refusals", cluster.run(refusals))
    suite.test("admin-configs", cluster.run(configs))
    suite.test("admin-more-partitions", cluster.run(more_partitions))
    suite.test("admin-alter-configs", cluster.run(alter_configs))
    suite.test("admin-records", cluster.run(records))
    suite.test("admin-cluster", cluster.run(describe_cluster))


async def topics(cluster):
    name = await cluster.topic("life", partitions=3)
    async with cluster.admin() as admin:
        assert name in await admin.list_topics(), "the topic is not listed"
        described = (await admin.describe_topics([name]))[0]
        equal((described["error_code"], sorted(part["partition"] for part in described["partitions"])), (0, [0, 1, 2]), "error, partitions")
        for part in described["partitions"]:
            equal((part["replicas"], part["isr"]), ([part["leader"]], [part["leader"]]), "replicas, and those in sync")
        equal([error for _, error, *_ in (await admin.delete_topics([name])).topic_error_codes], [0], "told of the deletion")
        equal([error for _, error, *_ in (await admin.delete_topics([name])).topic_error_codes], [UNKNOWN_TOPIC], "told of the second deletion")

        async def gone():
            return name not in await admin.list_topics()

        await eventually("the deleted topic is gone", gone)


async def refusals(cluster):
    name = await cluster.topic("twice")
    async with cluster.admin() as admin:
        for topic, replicas, error in ((name, 1, TOPIC_EXISTS), ("two words", 1, INVALID_TOPIC), ("aiokafka-replicated", 2, INVALID_REPLICATION)):
            made = await admin.create_topics([NewTopic(topic, 1, replicas)])
            equal(made.topic_errors[0][1], error, f"error of {topic}")


async def configs(cluster):
    name = await cluster.topic("configs", segment_bytes="2097152")
    async with cluster.admin() as admin:
        equal(await settings(admin, name, "segment.bytes", "compression.type"), {"segment.bytes": "2097152", "compression.type": "producer"}, "settings")


async def settings(admin, topic, *names):
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict.fromkeys(names))])
    error, _, _, _, entries = answers[0].resources[0]
    equal(error, 0, "error of describeConfigs")
    return {entry[0]: entry[1] for entry in entries}


async def alter_configs(cluster):
    """This client sends all settings of a topic: what is not named becomes the default."""
    name = await cluster.topic("altered", segment_bytes="2097152")
    async with cluster.admin() as admin:
        answers = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"max.message.bytes": "2000000"})])
        equal([each[0] for answer in answers for each in answer.resources], [0], "told")

        async def as_altered():
            return await settings(admin, name, "segment.bytes", "max.message.bytes") == {"segment.bytes": "1073741824", "max.message.bytes": "2000000"}

        await eventually("the new settings", as_altered)


async def more_partitions(cluster):
    name = await cluster.topic("grows")
    async with cluster.admin() as admin:
        told = await admin.create_partitions({name: NewPartitions(3)})
        equal([each[:2] for each in told.topic_errors], [(name, 0)], "told")

        async def three():
            return len((await admin.describe_topics([name]))[0]["partitions"]) == 3

        await eventually("three partitions", three)
        try:
            await admin.create_partitions({name: NewPartitions(2)})
            raise AssertionError("fewer partitions were taken")
        except InvalidPartitionsError:
            pass


async def records(cluster):
    topic = await cluster.topic("records")
    await cluster.send(topic, mixed(20))
    at = TopicPartition(topic, 0)
    async with cluster.admin() as admin:
        equal(await admin.delete_records({at: RecordsToDelete(before_offset=15)}), {at: 15}, "first offset told")
    async with cluster.consumer() as consumer:
        equal((await consumer.beginning_offsets([at]))[at], 15, "first offset")


async def describe_cluster(cluster):
    async with cluster.admin() as admin:
        found = await admin.describe_cluster()
        equal([f"{broker['host']}:{broker['port']}" for broker in found["brokers"]], [cluster.bootstrap], "brokers")
        equal(found["controller_id"], found["brokers"][0]["node_id"], "controller")
        assert found["cluster_id"], "no cluster id"
