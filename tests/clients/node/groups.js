// Consumers in groups: commits, a rebalance, places to read from, administration.
import kafkajs from "kafkajs";
import { equal, eventually, refused } from "./cluster.js";

const { AssignerProtocol } = kafkajs;
const PARTITIONS = 4;
const TOGETHER = [0, 1, 2, 3];

export const grouping = [
  ["group-reads-commits-and-goes-on", goesOn],
  ["group-rebalances", rebalances],
  ["group-seek-pause-and-resume", seek],
  ["group-reads-from-the-end", fromTheEnd],
  ["group-administered", administered],
];

async function filled(cluster, about, count) {
  const topic = await cluster.topic(about, PARTITIONS);
  await spread(cluster, topic, 0, count);
  return [topic, `${topic}-group`];
}

function spread(cluster, topic, first, count) {
  const messages = Array.from({ length: count }, (_, at) => ({ value: `n${first + at}`, partition: (first + at) % PARTITIONS }));
  return cluster.send(topic, messages);
}

/** One member, which counts values in `seen` and knows what it has. It commits what it has read. */
async function join(cluster, group, topic, seen, { fromBeginning = true, ...settings } = {}) {
  const consumer = cluster.kafka.consumer({ groupId: group, sessionTimeout: 6000, heartbeatInterval: 100, maxWaitTimeInMs: 100, ...settings });
  const member = { consumer, assigned: [], crash: null };
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => (member.assigned = payload.memberAssignment[topic] ?? []));
  consumer.on(consumer.events.CRASH, ({ payload }) => (member.crash = payload.error));
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning });
  await consumer.run({ eachMessage: async ({ message }) => void seen.set(`${message.value}`, (seen.get(`${message.value}`) ?? 0) + 1) });
  return member;
}

async function committed(cluster, group, topic) {
  const [found] = await cluster.admin.fetchOffsets({ groupId: group, topics: [topic] });
  return found.partitions.sort((a, b) => a.partition - b.partition).map(({ offset }) => Number(offset));
}

function once(seen) {
  for (const [value, times] of seen) equal(times, 1, `how often ${value} came`);
}

async function goesOn(cluster) {
  const [topic, group] = await filled(cluster, "goes-on", 100);
  const seen = new Map();
  for (const total of [100, 200]) {
    const member = await join(cluster, group, topic, seen);
    try {
      await eventually(`${total} records`, () => seen.size === total);
    } finally {
      // Leaving commits what was read.
      await member.consumer.disconnect();
    }
    equal(await committed(cluster, group, topic), TOGETHER.map(() => total / PARTITIONS), "committed");
    await spread(cluster, topic, total, 100);
  }
  once(seen);
}

async function rebalances(cluster) {
  const [topic, group] = await filled(cluster, "rebalances", 100);
  const seen = new Map();
  const first = await join(cluster, group, topic, seen);
  const done = async (total) =>
    seen.size === total && JSON.stringify(await committed(cluster, group, topic)) === JSON.stringify(TOGETHER.map(() => total / PARTITIONS));
  try {
    await eventually("all records alone", () => done(100));
    const second = await join(cluster, group, topic, seen);
    try {
      await eventually("a half each", () => first.assigned.length === 2 && second.assigned.length === 2);
      equal([...first.assigned, ...second.assigned].sort(), TOGETHER, "assigned");
      await spread(cluster, topic, 100, 100);
      await eventually("all records of both", () => done(200));
    } finally {
      await second.consumer.disconnect();
    }
    await eventually("all partitions again", () => first.assigned.length === PARTITIONS);
    equal([first.crash, second.crash], [null, null], "crashes");
  } finally {
    await first.consumer.disconnect();
  }
  once(seen);
}

async function seek(cluster) {
  const [topic, group] = await filled(cluster, "seek", 40);
  const seen = new Map();
  const { consumer } = await join(cluster, group, topic, seen);
  try {
    await eventually("all records", () => seen.size === 40);
    consumer.pause([{ topic, partitions: [1, 2, 3] }]);
    equal(consumer.paused()[0].partitions.sort(), [1, 2, 3], "paused");
    consumer.seek({ topic, partition: 0, offset: "5" });
    await eventually("five records again", () => seen.get("n36") === 2);
    equal([seen.get("n16"), seen.get("n20"), seen.get("n1")], [1, 2, 1], "how often they came");
    consumer.resume([{ topic, partitions: [1, 2, 3] }]);
    await spread(cluster, topic, 40, 4);
    await eventually("a record of each", () => seen.size === 44);
  } finally {
    await consumer.disconnect();
  }
}

async function fromTheEnd(cluster) {
  const [topic, group] = await filled(cluster, "end", 40);
  const seen = new Map();
  const member = await join(cluster, group, topic, seen, { fromBeginning: false });
  try {
    await eventually("all partitions", () => member.assigned.length === PARTITIONS);
    // Where it begins is decided with its first fetch: more is sent until it comes.
    let total = 40;
    await eventually("a record", async () => {
      await spread(cluster, topic, total, PARTITIONS);
      total += PARTITIONS;
      return seen.size > 0;
    });
    equal([...seen.keys()].filter((value) => Number(value.slice(1)) < 40), [], "records from before");
  } finally {
    await member.consumer.disconnect();
  }
}

async function administered(cluster) {
  const { admin } = cluster;
  const [topic, group] = await filled(cluster, "administered", 40);
  const seen = new Map();
  const { consumer } = await join(cluster, group, topic, seen);
  try {
    await eventually("all records", () => seen.size === 40);
    const { groups } = await admin.listGroups();
    equal(groups.filter(({ groupId }) => groupId === group).map(({ protocolType }) => protocolType), ["consumer"], "listed");
    const [described] = (await admin.describeGroups([group])).groups;
    equal([described.state, described.protocol, described.members.length], ["Stable", "RoundRobinAssigner", 1], "described");
    const { assignment } = AssignerProtocol.MemberAssignment.decode(described.members[0].memberAssignment);
    equal(assignment[topic].sort(), TOGETHER, "assignment");
    // This client would try again for a while.
    const impatient = cluster.kafka.admin({ retry: { retries: 0 } });
    await impatient.connect();
    await refused("NON_EMPTY_GROUP", impatient.deleteGroups([group]));
    await impatient.disconnect();
  } finally {
    await consumer.disconnect();
  }
  await admin.setOffsets({ groupId: group, topic, partitions: TOGETHER.map((partition) => ({ partition, offset: "3" })) });
  equal(await committed(cluster, group, topic), [3, 3, 3, 3], "offsets that were set");
  await admin.resetOffsets({ groupId: group, topic, earliest: true });
  const [resolved] = await admin.fetchOffsets({ groupId: group, topics: [topic], resolveOffsets: true });
  equal(resolved.partitions.map(({ offset }) => offset), ["0", "0", "0", "0"], "offsets that were reset");
  await admin.deleteGroups([group]);
  const { groups } = await admin.listGroups();
  equal(groups.some(({ groupId }) => groupId === group), false, "listed after it was deleted");
}
