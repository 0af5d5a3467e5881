"""Producers and groups of Java and librdkafka go on while nodes that lead are killed and come back.

Who is killed and when is drawn from a seed, which is printed; `HIGHWATER_SEED` draws it again.
"""

import os
import random
import subprocess
import time

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from harness import prepare

from ..crash import say
from ..mixed.judge import Judge
from ..mixed.members import Member
from ..mixed.story import PARTITIONS, Source

# Apache Kafka hears of a death after seconds, and under the load of producers that never pause is long not in sync again.
KILLS = {"highwater": 10, "kafka": 2}
KILLS_UNDER_LOAD = {"highwater": 10, "kafka": 1}
NODES = 3
MOST_RECORDS = 3_000
LIMIT_S = 60
# Under load Apache Kafka takes its time, with segments as small as these.
IN_SYNC_LIMIT_S = 240
TEST_LIMIT_S = 600


def tests(suite, broker):
    for strategy in ("range", "consumer"):
        suite.test(f"group-{strategy}-while-leaders-die", lambda strategy=strategy: Hunt(broker, strategy).group(), limit_s=TEST_LIMIT_S)
    suite.test("java-producers-while-leaders-die", lambda: Hunt(broker, "java").producers(), limit_s=TEST_LIMIT_S)


class Hunt:
    def __init__(self, broker, about):
        self.broker, self.about = broker, about
        seed = int(os.environ.get("HIGHWATER_SEED", time.time_ns() >> 10))
        prepare.say(f"nodes, {about}: HIGHWATER_SEED={seed}")
        self.seed, self.draw = seed, random.Random(f"{seed} {about}")
        self.admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 2})

    def group(self):
        """One group of a member of each, and what it reads written by librdkafka: record n of each partition is n."""
        topic, group = f"nodes-{self.about}", f"nodes-{self.about}"
        self.admin.create_topics([NewTopic(topic, PARTITIONS)])[topic].result(LIMIT_S)
        self.eventually("the topic", lambda: self.leaders(topic))
        members, source = [], Source(self.broker, topic)
        try:
            for number, kind in enumerate(("java", "librdkafka")):
                members.append(Member(kind, number, self.broker, group, topic, self.about))
            self.eventually("a first record for each", lambda: all(any(each.name == "read" for each in member.events) for member in members))
            for _ in range(KILLS[self.broker.name]):
                # Who coordinates the group leads one of the partitions in `__consumer_offsets`, and so dies as often.
                self.kill_leader(topic, lambda: time.sleep(self.draw.uniform(0.05, 0.6)))
            ends = source.stop()
            self.eventually(f"ends {ends} are committed", lambda: self.committed(group, topic) == ends, lambda: self.committed(group, topic))
            for member in members:
                member.leave()
            delivered, again = Judge(members).judge(ends)
            prepare.say(f"nodes, {self.about}: {delivered} records, {again} of them again")
        finally:
            source.stop()
            for member in members:
                member.remove()

    def producers(self):
        """The producers of ../crash.py, which hold everything that is read against what was acknowledged."""
        command = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", prepare.java_suite(), "highwater.suite.Crash",
                   self.broker.bootstrap, str(self.seed)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as driver:
            def acknowledged():
                say(driver, f"after {int(MOST_RECORDS ** self.draw.random())}", "now", "while nodes die")

            try:
                acknowledged()
                [topic] = [name for name in self.admin.list_topics(timeout=LIMIT_S).topics if name.startswith("java-crash-")]
                for _ in range(KILLS_UNDER_LOAD[self.broker.name]):
                    self.kill_leader(topic, acknowledged)
                said = say(driver, "end", "read", "after the last kill")
            finally:
                driver.kill()
        prepare.say(f"nodes, java: {said}")

    def kill_leader(self, topic, meanwhile):
        """When everybody is in sync, kills who leads one of the topic's partitions, and starts it again."""
        self.eventually("everybody in sync", lambda: self.is_in_sync(topic), limit_s=IN_SYNC_LIMIT_S)
        meanwhile()
        leader = self.draw.choice(sorted(self.leaders(topic).values()))
        self.broker.kill_node(leader)
        meanwhile()
        self.broker.start_node(leader)

    def partitions(self, topic):
        try:
            return self.admin.list_topics(topic, timeout=LIMIT_S).topics[topic].partitions
        except KafkaException:
            return {}

    def leaders(self, topic):
        found = {number: at.leader for number, at in self.partitions(topic).items()}
        return found if all(leader >= 0 for leader in found.values()) else {}

    def is_in_sync(self, topic):
        found = self.partitions(topic).values()
        return found and all(len(at.isrs) == NODES and at.leader >= 0 for at in found)

    def committed(self, group, topic):
        asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, at) for at in range(PARTITIONS)])
        try:
            found = self.admin.list_consumer_group_offsets([asked], request_timeout=10)[group].result(LIMIT_S)
        except KafkaException as error:
            return error
        return {at.partition: at.offset for at in found.topic_partitions}

    @staticmethod
    def eventually(what, holds, found=lambda: "", limit_s=LIMIT_S):
        deadline = time.monotonic() + limit_s
        while not holds():
            assert time.monotonic() < deadline, f"not within {limit_s} s: {what}; {found()}"
            time.sleep(0.05)
