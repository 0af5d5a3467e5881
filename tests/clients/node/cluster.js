// The broker under test as the tests see it: topics, producing, and reading back.
import { setTimeout as sleep } from "node:timers/promises";
import kafkajs from "kafkajs";
import SnappyCodec from "kafkajs-snappy";

const { CompressionCodecs, CompressionTypes, Kafka, logLevel } = kafkajs;
CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec;

export { CompressionTypes };
const WAIT_LIMIT_MS = 40_000;
export const START_MS = 1_700_000_000_000;

export class Cluster {
  static async on(bootstrap) {
    const cluster = new Cluster();
    cluster.bootstrap = bootstrap;
    cluster.topics = 0;
    cluster.kafka = new Kafka({ clientId: "suite", brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50 } });
    cluster.admin = cluster.kafka.admin();
    await cluster.admin.connect();
    return cluster;
  }

  /** A name no other test uses. */
  freshName(about) {
    return `kafkajs-${about}-${this.topics++}`;
  }

  async topic(about, partitions = 1) {
    const topic = this.freshName(about);
    const made = await this.admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: 1 }] });
    equal(made, true, "answer to createTopics");
    return topic;
  }

  /** Sends all in one request for each partition; gives what the broker told. */
  async send(topic, messages, { settings = {}, ...more } = {}) {
    const producer = this.kafka.producer({ allowAutoTopicCreation: false, ...settings });
    await producer.connect();
    try {
      return await producer.send({ topic, messages, acks: -1, ...more });
    } finally {
      await producer.disconnect();
    }
  }

  /** As many messages of a topic with one partition, from its beginning: this client reads only in a group. */
  async read(topic, count, settings = {}) {
    const messages = [];
    const consumer = this.kafka.consumer({ groupId: `${topic}-reading-${this.topics++}`, maxWaitTimeInMs: 100, ...settings });
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({ autoCommit: false, eachMessage: async ({ message }) => void messages.push(message) });
    try {
      await eventually(`${count} messages`, () => messages.length >= count);
    } finally {
      await consumer.disconnect();
    }
    return messages;
  }
}

export async function eventually(what, holds) {
  const deadline = Date.now() + WAIT_LIMIT_MS;
  for (;;) {
    const found = await holds();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not within ${WAIT_LIMIT_MS} ms: ${what}`);
    await sleep(20);
  }
}

export function equal(found, expected, what) {
  const [left, right] = [JSON.stringify(found), JSON.stringify(expected)];
  if (left !== right) throw new Error(`${what}: found ${left}, expected ${right}`);
}

/** The call must fail with this error of the protocol. */
export async function refused(type, call) {
  try {
    await call;
  } catch (error) {
    for (let cause = error; cause; cause = cause.cause ?? cause.errors?.[0] ?? cause.groups?.[0].error) if (cause.type === type) return;
    throw new Error(`refused with ${error.name} ${error.type ?? ""} (${error.message}), expected ${type}`);
  }
  throw new Error(`not refused, expected ${type}`);
}
