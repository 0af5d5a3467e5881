// What is produced is read back byte for byte, with each codec that needs no compiler to install.
import { CompressionTypes, START_MS, equal, refused } from "./cluster.js";

const MESSAGES = 500;

export const producing = [
  ["produce-compression-none", (cluster) => roundTrip(cluster, CompressionTypes.None)],
  ["produce-compression-gzip", (cluster) => roundTrip(cluster, CompressionTypes.GZIP)],
  ["produce-compression-snappy", (cluster) => roundTrip(cluster, CompressionTypes.Snappy)],
  ["produce-idempotent", idempotent],
  ["produce-many-topics-at-once", manyTopics],
  ["produce-too-large-is-refused", tooLarge],
];

/** Half of them compress well, half not at all; null keys, null values and headers among them. */
function mixed(count, first = 0) {
  return Array.from({ length: count }, (_, at) => {
    const n = first + at;
    let value = null;
    if (n % 7 !== 0) value = n % 2 === 0 ? "the same words again and again ".repeat(1 + (n % 20)) : noise(n, 1 + (n % 700));
    const headers = n % 3 === 0 ? {} : { h: `${n}`, twice: ["one", "two"] };
    return { key: n % 5 === 0 ? null : `key-${n}`, value, headers, timestamp: `${START_MS + n}`, partition: 0 };
  });
}

function noise(seed, size) {
  const bytes = Buffer.alloc(size);
  let state = seed + 1;
  for (let at = 0; at < size; at++) bytes[at] = (state = (state * 48271) % 2147483647) & 0xff;
  return bytes;
}

function plain({ key, value, headers, timestamp }) {
  const text = (bytes) => (bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString("latin1"));
  const lists = Object.entries(headers).map(([name, values]) => [name, [values].flat().map(text)]);
  return { key: text(key), value: text(value), headers: lists, timestamp };
}

function checkSame(read, sent) {
  equal(read.length, sent.length, "number of messages");
  sent.forEach((each, at) => {
    equal(plain(read[at]), plain(each), `message ${at}`);
    equal(read[at].offset, `${at}`, `offset of message ${at}`);
  });
}

async function roundTrip(cluster, compression) {
  const topic = await cluster.topic("codec");
  const sent = mixed(MESSAGES);
  const [told] = await cluster.send(topic, sent, { compression });
  equal([told.errorCode, told.baseOffset], [0, "0"], "told");
  checkSame(await cluster.read(topic, MESSAGES), sent);
}

async function idempotent(cluster) {
  const topic = await cluster.topic("idempotent");
  const producer = cluster.kafka.producer({ idempotent: true, allowAutoTopicCreation: false });
  await producer.connect();
  const sent = mixed(MESSAGES);
  try {
    // One after the other, each with its sequence.
    for (let first = 0; first < MESSAGES; first += 20) {
      const [told] = await producer.send({ topic, messages: sent.slice(first, first + 20) });
      equal(told.baseOffset, `${first}`, "offset told");
    }
  } finally {
    await producer.disconnect();
  }
  checkSame(await cluster.read(topic, MESSAGES), sent);
}

async function manyTopics(cluster) {
  const topics = [await cluster.topic("one"), await cluster.topic("two")];
  const producer = cluster.kafka.producer({ allowAutoTopicCreation: false });
  await producer.connect();
  try {
    const told = await producer.sendBatch({ topicMessages: topics.map((topic) => ({ topic, messages: mixed(10) })), acks: 1 });
    equal(told.map(({ topicName, baseOffset }) => [topicName, baseOffset]).sort(), topics.map((topic) => [topic, "0"]).sort(), "told");
  } finally {
    await producer.disconnect();
  }
  for (const topic of topics) checkSame(await cluster.read(topic, 10), mixed(10));
}

async function tooLarge(cluster) {
  const topic = await cluster.topic("large");
  await refused("MESSAGE_TOO_LARGE", cluster.send(topic, [{ value: Buffer.alloc(2 << 20) }], { settings: { retry: { retries: 0 } } }));
}
