// The KafkaJS suite. Arguments: bootstrap address, and a part of a test's name (empty: all tests).
//
// Prints "ok NAME" or "FAILED NAME: WHY" for each test, and "end COUNT".
import { administrating } from "./admin.js";
import { Cluster } from "./cluster.js";
import { grouping } from "./groups.js";
import { producing } from "./producing.js";

const TEST_LIMIT_MS = 60_000;

const [bootstrap, wanted] = process.argv.slice(2);
const cluster = await Cluster.on(bootstrap);
let count = 0;
for (const [name, body] of [...administrating, ...producing, ...grouping]) {
  if (!name.includes(wanted)) continue;
  count += 1;
  try {
    await within(TEST_LIMIT_MS, body(cluster));
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`FAILED ${name}: ${String(error.stack ?? error).replaceAll(/\s*\n\s*/g, " ")}`);
  }
}
console.log(`end ${count}`);
// A test that hung has left its clients behind.
process.exit(0);

function within(limitMs, promise) {
  let timer;
  const tooLong = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${limitMs} ms`)), limitMs);
  });
  return Promise.race([promise, tooLong]).finally(() => clearTimeout(timer));
}
