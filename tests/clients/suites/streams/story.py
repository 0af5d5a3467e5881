"""A source that writes, two instances of the application, and what happens to them and to the nodes."""

import random
import shutil
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from harness import prepare
from harness.report import equal, shorten

from .instances import Instance

INPUT, PARTITIONS = "streams-in", 3
EXACTLY, AT_LEAST = "exactly", "atleast"
OUTPUTS = [f"{name}-{what}" for name in (EXACTLY, AT_LEAST) for what in ("sums", "counts")]
INTERNAL = ("__transaction_state", "__consumer_offsets")
NODES, KEYS, WORDS = 3, 9, 40
RECORDS_A_SECOND = 200
# Longer than the session of a member (../../java, Streams).
HELD_STILL_S = 5
LIMIT_S = 120


class Story:
    def __init__(self, broker, seed):
        self.broker, self.draw = broker, random.Random(seed)
        self.home = Path(tempfile.mkdtemp(prefix="highwater-suite-streams-"))
        self.admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 2})
        for topic, made in self.admin.create_topics([NewTopic(topic, PARTITIONS) for topic in (INPUT, *OUTPUTS)]).items():
            made.result(LIMIT_S)
            self.eventually(f"{topic} is led", lambda topic=topic: len(self.leaders(topic)) == PARTITIONS)
        self.source, self.reader = Source(broker), Reader(broker)
        # Who is held still is put out of its group, and does not know: what it still writes as it goes on, old counts among it, only
        # transactions fence. At least once therefore has nobody who is held still.
        self.instances = [Instance(broker, "a", self.home, (EXACTLY, AT_LEAST)), Instance(broker, "b", self.home, (EXACTLY,))]

    def close(self):
        for each in self.instances:
            each.kill()
        self.source.end()
        self.reader.end()
        shutil.rmtree(self.home, ignore_errors=True)

    # ---- what happens

    def tell(self, kills):
        self.progress("a first output of both")
        happenings = [self.kill_instance, self.kill_leader, self.hold_still, self.kill_both]
        for number in range(kills):
            # Each kind as often, each order as likely.
            if number % len(happenings) == 0:
                self.draw.shuffle(happenings)
            about = happenings[number % len(happenings)]()
            self.progress(f"output after kill {number}, {about}")
        self.source.end()
        self.expected = self.source.expected()
        self.eventually("everything has come out", self.is_all_out, self.what_is_missing)
        failures = [line for each in self.instances for line in each.failures()]
        prepare.say(f"streams: {self.source.count} records, {len(failures)} threads of the application replaced")

    def kill_instance(self):
        one = self.draw.choice(self.instances)
        one.kill()
        one.start()
        return f"of instance {one.name}"

    def kill_leader(self):
        topic, node = self.leader_to_kill()
        self.broker.kill_node(node)
        self.progress(f"output after node {node} was killed, which led a partition of {topic}")
        self.broker.start_node(node)
        return f"of node {node}"

    def kill_both(self):
        topic, node = self.leader_to_kill()
        one = self.draw.choice(self.instances)
        self.broker.kill_node(node)
        one.kill()
        one.start()
        self.broker.start_node(node)
        return f"of node {node}, which led a partition of {topic}, and instance {one.name}"

    def hold_still(self):
        """Until others have its work; then it goes on as if nothing had happened."""
        one = self.instances[1]
        one.hold_still()
        time.sleep(HELD_STILL_S)
        self.progress(f"output without instance {one.name}, which is held still")
        one.go_on()
        return f"holding still of instance {one.name}"

    def leader_to_kill(self):
        """Of any topic there is, once everybody is in sync."""
        self.eventually("everybody in sync", lambda: not self.who_is_not_in_sync(), self.who_is_not_in_sync)
        topics = self.admin.list_topics(timeout=LIMIT_S).topics
        # Half of the time one that transactions and groups hang on.
        topic = self.draw.choice([INTERNAL, sorted(set(topics) - set(INTERNAL))][self.draw.randrange(2)])
        return topic, self.draw.choice(sorted(set(self.leaders(topic).values())))

    # ---- waiting

    def progress(self, what):
        """Both applications put something out that was not there before."""
        before = self.reader.counts()
        self.eventually(what, lambda: all(count > before[topic] for topic, count in self.reader.counts().items()),
                        lambda: (before, self.reader.counts()))

    def eventually(self, what, holds, found=lambda: ""):
        deadline = time.monotonic() + LIMIT_S
        while not holds():
            if time.monotonic() > deadline:
                said = [f"{each.name}: {each.said()[-4:]}" for each in getattr(self, "instances", ())]
                raise AssertionError(f"not within {LIMIT_S} s: {what}; {shorten(found())} {' '.join(said)}")
            time.sleep(0.05)

    def partitions(self, topic):
        try:
            return self.admin.list_topics(topic, timeout=10).topics[topic].partitions
        except KafkaException:
            return {}

    def leaders(self, topic):
        return {number: at.leader for number, at in self.partitions(topic).items() if at.leader >= 0}

    def who_is_not_in_sync(self):
        try:
            topics = self.admin.list_topics(timeout=10).topics.values()
        except KafkaException as error:
            return [str(error)]
        return [f"{topic}-{number}: leader {at.leader}, in sync {at.isrs}" for topic in topics for number, at in topic.partitions.items()
                if at.leader < 0 or len(at.isrs) < NODES]

    # ---- what came out

    def is_all_out(self):
        return not self.what_is_missing()

    def what_is_missing(self):
        """The last step of each key and word that is not there."""
        found, missing = self.reader.found, []
        for name in (EXACTLY, AT_LEAST):
            for what, expected in self.expected.items():
                reached = found[f"{name}-{what}"]
                missing += [f"{name}-{what} {key}" for key, steps in expected.items() if not has_reached(what, reached.get(key, []), steps)]
        return missing

    def judge_exactly(self):
        assert self.reader.failure is None, self.reader.failure
        for what, expected in self.expected.items():
            found = self.reader.found[f"{EXACTLY}-{what}"]
            equal(sorted(found), sorted(expected), f"keys of {what}")
            for key, steps in expected.items():
                if found[key] != steps:
                    at = next((at for at, (is_there, should_be) in enumerate(zip(found[key], steps)) if is_there != should_be), min(len(found[key]), len(steps)))
                    raise AssertionError(f"{what} of {key}: {len(found[key])} outputs, {len(steps)} expected; from {at} on {found[key][at:at + 5]}, expected {steps[at:at + 5]}")

    def judge_at_least(self):
        assert hasattr(self, "expected"), "the story did not come to its end"
        for key, steps in self.expected["sums"].items():
            found = self.reader.found[f"{AT_LEAST}-sums"][key]
            numbers = {step.split()[0] for step in found}
            equal(sorted({step.split()[0] for step in steps} - numbers), [], f"numbers of {key} that never came out")
            assert max(int(step.split()[1]) for step in found) >= len(steps), f"{key} is counted too few times"
        for word, steps in self.expected["counts"].items():
            found = self.reader.found[f"{AT_LEAST}-counts"][word]
            assert max(map(int, found)) >= len(steps), f"{word}: {max(map(int, found))} of {len(steps)}"
        again = sum(len(found) for found in self.reader.found[f"{AT_LEAST}-sums"].values()) - self.source.count
        prepare.say(f"streams: at least once put out {again} records again")


def has_reached(what, found, steps):
    if what == "counts":
        return any(int(each) >= len(steps) for each in found[-200:])
    return steps[-1].split()[0] in {each.split()[0] for each in found[-200:]}


class Source:
    """Writes numbers and words under a few keys; each number of a key once, in order."""

    def __init__(self, broker):
        self.producer = Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "linger.ms": 5, "log_level": 2,
                                  "message.timeout.ms": LIMIT_S * 1000})
        self.count, self.ending = 0, threading.Event()
        self.thread = threading.Thread(target=self.write, daemon=True)
        self.thread.start()

    @staticmethod
    def words(number):
        return [f"word-{number % WORDS}", f"word-{number * 7 % WORDS}"]

    def write(self):
        while not self.ending.wait(0.05):
            for _ in range(RECORDS_A_SECOND // 20):
                key, number = self.count % KEYS, self.count // KEYS
                self.producer.produce(INPUT, f"{number} {' '.join(self.words(self.count))}", f"key-{key}")
                self.count += 1
            self.producer.poll(0)

    def end(self):
        if not self.ending.is_set():
            self.ending.set()
            self.thread.join()
            equal(self.producer.flush(LIMIT_S), 0, "records of the source without an answer")

    def expected(self):
        """Every step of every key and word."""
        sums, counts, seen, total = defaultdict(list), defaultdict(list), Counter(), Counter()
        for at in range(self.count):
            key, number = f"key-{at % KEYS}", at // KEYS
            total[key] += number
            sums[key].append(f"{number} {number + 1} {total[key]}")
            for word in self.words(at):
                seen[word] += 1
                counts[word].append(str(seen[word]))
        return {"sums": sums, "counts": counts}


class Reader:
    """Everything that is committed in the outputs: {topic: {key: values in order}}."""

    def __init__(self, broker):
        self.found, self.failure = {topic: defaultdict(list) for topic in OUTPUTS}, None
        self.consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "none", "enable.auto.commit": False, "isolation.level": "read_committed",
                                  "auto.offset.reset": "error", "fetch.wait.max.ms": 50, "log_level": 2})
        self.consumer.assign([TopicPartition(topic, at, 0) for topic in OUTPUTS for at in range(PARTITIONS)])
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        while not self.ending.is_set():
            for message in self.consumer.consume(500, 0.1):
                if message.error():
                    # What it cannot mend by asking again.
                    self.failure = self.failure or (str(message.error()) if not message.error().retriable() else None)
                    continue
                self.found[message.topic()][message.key().decode()].append(message.value().decode())

    def counts(self):
        return {topic: sum(map(len, list(by_key.values()))) for topic, by_key in self.found.items()}

    def end(self):
        if not self.ending.is_set():
            self.ending.set()
            self.thread.join()
            self.consumer.close()
