// Topics and the cluster through the administrator.
import kafkajs from "kafkajs";
import { START_MS, equal, eventually, refused } from "./cluster.js";

const { ConfigResourceTypes } = kafkajs;

export const administrating = [
  ["admin-topics", topics],
  ["admin-refusals", refusals],
  ["admin-configs", configs],
  ["admin-more-partitions", morePartitions],
  ["admin-alter-configs", alterConfigs],
  ["admin-offsets-and-records", offsets],
  ["admin-cluster", describeCluster],
];

async function topics({ admin, ...cluster }) {
  const topic = `kafkajs-life-${cluster.topics}`;
  equal(await admin.createTopics({ topics: [{ topic, numPartitions: 3 }] }), true, "created");
  equal(await admin.createTopics({ topics: [{ topic, numPartitions: 3 }] }), false, "created twice");
  equal((await admin.listTopics()).includes(topic), true, "listed");
  const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
  equal(topics[0].partitions.map(({ partitionId }) => partitionId).sort(), [0, 1, 2], "partitions");
  for (const { leader, replicas, isr } of topics[0].partitions) equal([replicas, isr], [[leader], [leader]], "replicas, and those in sync");
  await admin.deleteTopics({ topics: [topic] });
  equal((await admin.listTopics()).includes(topic), false, "listed after it was deleted");
}

async function refusals({ admin }) {
  const create = (topic, replicationFactor) => admin.createTopics({ topics: [{ topic, replicationFactor }] });
  await refused("INVALID_TOPIC_EXCEPTION", create("two words", 1));
  await refused("INVALID_REPLICATION_FACTOR", create("kafkajs-replicated", 2));
  await refused("UNKNOWN_TOPIC_OR_PARTITION", admin.fetchTopicMetadata({ topics: ["kafkajs-nowhere"] }));
}

async function configs(cluster) {
  const topic = cluster.freshName("configs");
  const configEntries = [{ name: "segment.bytes", value: "2097152" }];
  await cluster.admin.createTopics({ topics: [{ topic, configEntries }] });
  const found = await settings(cluster, topic, ["segment.bytes", "compression.type"]);
  equal(found, [["compression.type", "producer", 5], ["segment.bytes", "2097152", 1]], "settings and their sources");
}

async function settings({ admin }, topic, configNames) {
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames }],
  });
  return resources[0].configEntries.map(({ configName, configValue, configSource }) => [configName, configValue, configSource]).sort();
}

/** This client sends all settings of a topic: what is not named becomes the default. */
async function alterConfigs(cluster) {
  const topic = cluster.freshName("altered");
  await cluster.admin.createTopics({ topics: [{ topic, configEntries: [{ name: "segment.bytes", value: "2097152" }] }] });
  const alter = (name, value) =>
    cluster.admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name, value }] }] });
  await alter("max.message.bytes", "2000000");
  const expected = [["max.message.bytes", "2000000", 1], ["segment.bytes", "1073741824", 5]];
  await eventually("the new settings", async () => {
    const found = await settings(cluster, topic, ["max.message.bytes", "segment.bytes"]);
    return JSON.stringify(found) === JSON.stringify(expected);
  });
  await refused("INVALID_CONFIG", alter("no.such.setting", "1"));
}

async function morePartitions(cluster) {
  const topic = await cluster.topic("grows");
  await cluster.admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] });
  await eventually("three partitions", async () => {
    const { topics } = await cluster.admin.fetchTopicMetadata({ topics: [topic] });
    return topics[0].partitions.length === 3;
  });
  await refused("INVALID_PARTITIONS", cluster.admin.createPartitions({ topicPartitions: [{ topic, count: 2 }] }));
}

async function offsets(cluster) {
  const topic = await cluster.topic("offsets");
  const messages = Array.from({ length: 20 }, (_, at) => ({ value: `n${at}`, timestamp: `${START_MS + at}` }));
  await cluster.send(topic, messages);
  const place = async () => (await cluster.admin.fetchTopicOffsets(topic)).map(({ low, high }) => [low, high]);
  equal(await place(), [["0", "20"]], "offsets");
  equal(await cluster.admin.fetchTopicOffsetsByTimestamp(topic, START_MS + 7), [{ partition: 0, offset: "7" }], "offset by time");
  await cluster.admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "15" }] });
  equal(await place(), [["15", "20"]], "offsets after records were deleted");
  equal((await cluster.read(topic, 5)).map(({ value }) => `${value}`), ["n15", "n16", "n17", "n18", "n19"], "records left");
}

async function describeCluster({ admin, bootstrap }) {
  const { brokers, controller, clusterId } = await admin.describeCluster();
  equal(brokers.map(({ host, port }) => `${host}:${port}`), [bootstrap], "brokers");
  equal(controller, brokers[0].nodeId, "controller");
  equal(clusterId.length, 22, "length of the cluster's id");
}
