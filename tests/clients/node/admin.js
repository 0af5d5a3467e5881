// Topics and the cluster through the administrator.
import kafkajs from "kafkajs";
import { START_MS, equal, refused } from "./cluster.js";

const { ConfigResourceTypes } = kafkajs;

export const administrating = [
  ["admin-topics", topics],
  ["admin-refusals", refusals],
  ["admin-configs", configs],
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
  const { resources } = await cluster.admin.describeConfigs({
    includeSynonyms: false,
    resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ["segment.bytes", "compression.type"] }],
  });
  const found = resources[0].configEntries.map(({ configName, configValue, configSource }) => [configName, configValue, configSource]);
  equal(found.sort(), [["compression.type", "producer", 5], ["segment.bytes", "2097152", 1]], "settings and their sources");
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
