"""One group of members written by different people, while they come and go, are killed, and held still beyond their session.

What happens is drawn from a seed, which is printed; HIGHWATER_SEED draws it again, HIGHWATER_MIXED_S lets it last so long.
"""

import os
import random
import threading
import time

from confluent_kafka import Producer

from harness import prepare
from harness.report import equal
from wire.client import Client
from wire.specs import Specs

from .judge import Judge
from .members import KINDS, Member

PARTITIONS = 6
MOST_MEMBERS = 5
# Sessions last three seconds (members.py): who is held still for longer is taken for dead.
BEYOND_SESSION_S = 4.0
PAUSE_S = (0.2, 1.2)
LIMIT_S = 60
GROUP_ID_NOT_FOUND = 69
LASTS_S = 15
RECORDS_A_SECOND = 400


# A group whose members speak both protocols changes its own with who comes first and who leaves last. (Some clients' sticky
# assignors put words of their own into assignments: such a group changes with no broker.)
STRATEGIES = {"changing": ("range", "consumer")}


class Story:
    def __init__(self, broker, strategy):
        self.broker, self.strategy, self.strategies = broker, strategy, STRATEGIES.get(strategy, (strategy,))
        seed = int(os.environ.get("HIGHWATER_SEED", time.time_ns() >> 10))
        prepare.say(f"mixed, {strategy}: HIGHWATER_SEED={seed}")
        self.draw = random.Random(f"{seed} {strategy}")
        self.group = f"mixed-{strategy}"
        self.client = Client(Specs(prepare.client_jar()), broker.address)
        self.topic = self.client.create_topic("mixed", PARTITIONS)
        self.members = []
        self.wakes = {}

    def tell(self):
        source = Source(self.broker, self.topic)
        try:
            for kind in KINDS:
                self.join(kind)
            self.wait_for_work()
            until = time.monotonic() + float(os.environ.get("HIGHWATER_MIXED_S", LASTS_S))
            while time.monotonic() < until:
                self.something_happens()
                time.sleep(self.draw.uniform(*PAUSE_S))
            for member in list(self.wakes):
                self.wake(member)
            ends = source.stop()
            self.await_committed(ends)
            for member in self.living():
                member.leave()
            self.await_empty()
            delivered, again = Judge(self.members).judge(ends)
            prepare.say(f"mixed, {self.strategy}: {len(self.members)} members, {delivered} records, {again} of them again")
        except BaseException:
            self.write_down()
            raise
        finally:
            source.stop()
            for member in self.members:
                member.remove()

    # ---- what happens

    def something_happens(self):
        for member, at in list(self.wakes.items()):
            if time.monotonic() > at:
                self.wake(member)
        awake = [member for member in self.living() if not member.is_still]
        joins = [self.join_any] * 3 if len(self.living()) < MOST_MEMBERS else []
        # One at least goes on.
        others = [self.leave, self.kill, self.hold_still] if len(awake) > 1 else []
        what = self.draw.choice(joins + others or [lambda: None])
        member = self.draw.choice(awake) if what in others else None
        # Whose group has become a classic one meanwhile is told that there is none, as by Kafka: that ends its consumer.
        if what == self.hold_still and self.strategy == "changing" and member.strategy == "consumer":
            what = self.kill
        what(member) if member else what()

    def living(self):
        return [member for member in self.members if member.process.poll() is None]

    def join_any(self):
        living = [member.kind for member in self.living()]
        # Of ours there is one at a time, where the dead have to be told apart.
        self.join(self.draw.choice([kind for kind in KINDS if self.strategy == "consumer" or kind != "highwater" or kind not in living]))

    def join(self, kind):
        strategy = self.draw.choice(self.strategies)
        self.members.append(Member(kind, len(self.members), self.broker, self.group, self.topic, strategy, len(self.strategies) > 1))

    @staticmethod
    def leave(member):
        member.leave()

    def kill(self, member):
        member.kill()
        self.missed(member)

    def hold_still(self, member):
        member.hold_still()
        self.wakes[member] = time.monotonic() + BEYOND_SESSION_S
        self.missed(member)

    def wake(self, member):
        del self.wakes[member]
        member.go_on()

    def missed(self, member):
        """The program's session in a classic group is three quarters of a minute: here it is put out of the group instead."""
        if member.kind != "highwater" or member.strategy == "consumer":
            return
        described = self.client.call("DescribeGroups", 6, {"Groups": [self.group]})["Groups"][0]
        if described["ErrorCode"] == GROUP_ID_NOT_FOUND:
            described = self.client.call("ConsumerGroupDescribe", 1, {"GroupIds": [self.group]})["Groups"][0]
        equal(described["ErrorCode"], 0, "error of the group's description")
        gone = [{"MemberId": each["MemberId"], "GroupInstanceId": None} for each in described["Members"] if each["ClientId"] == "highwater"]
        answer = self.client.call("LeaveGroup", 4, {"GroupId": self.group, "Members": gone})
        equal(answer["ErrorCode"], 0, "error of LeaveGroup")

    # ---- how it ends

    def committed(self):
        """By partition; nothing before the group has a coordinator."""
        asked = [{"Name": self.topic, "PartitionIndexes": list(range(PARTITIONS))}]
        found = self.client.call("OffsetFetch", 8, {"Groups": [{"GroupId": self.group, "Topics": asked}]})["Groups"][0]
        return {at["PartitionIndex"]: at["CommittedOffset"] for topic in found["Topics"] for at in topic["Partitions"]}

    def wait_for_work(self):
        self.eventually("a first commit", lambda: any(offset > 0 for offset in self.committed().values()))

    def await_committed(self, ends):
        self.eventually(f"ends {ends} are committed", lambda: self.committed() == ends, self.committed)

    def await_empty(self):
        def state():
            listed = self.client.call("ListGroups", 4, {})["Groups"]
            return next((each["GroupState"] for each in listed if each["GroupId"] == self.group), None)

        self.eventually("the group is empty", lambda: state() == "Empty", state)

    def eventually(self, what, holds, found=lambda: ""):
        deadline = time.monotonic() + LIMIT_S
        while not holds():
            failures = [f"{member.name}: {failure}" for member in self.members for failure in member.failures()]
            assert not failures, f"before {what}: {failures}"
            assert time.monotonic() < deadline, f"not within {LIMIT_S} s: {what}; {found()}, members {[member.name for member in self.living()]}"
            time.sleep(0.1)

    def write_down(self):
        """What everybody told, in the order of time."""
        lines = sorted((event.at_us, member.name, event.name, event.words) for member in self.members for event in member.events)
        path = prepare.CACHE / f"mixed-{self.strategy}.txt"
        path.write_text("".join(f"{at} {name} {what} {' '.join(map(str, words))}\n" for at, name, what, words in lines))
        prepare.say(f"mixed, {self.strategy}: what members told is in {path}")


class Source:
    """Fills the partitions: record n of each has the value n."""

    def __init__(self, broker, topic):
        self.producer = Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "linger.ms": 5, "log_level": 2})
        self.topic, self.ending, self.ends = topic, threading.Event(), dict.fromkeys(range(PARTITIONS), 0)
        self.thread = threading.Thread(target=self.fill, daemon=True)
        self.thread.start()

    def fill(self):
        at = 0
        while not self.ending.wait(0.05):
            for _ in range(RECORDS_A_SECOND // 20):
                partition = at % PARTITIONS
                self.producer.produce(self.topic, b"%d" % self.ends[partition], partition=partition)
                self.ends[partition] += 1
                at += 1
            self.producer.poll(0)

    def stop(self):
        """Gives the ends of all partitions."""
        self.ending.set()
        self.thread.join()
        assert self.producer.flush(LIMIT_S) == 0, "records without an answer"
        return self.ends
