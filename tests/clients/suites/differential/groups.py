"""Classic groups for cases of the differential suite: members with a connection each, brought into every state of a group."""

import re
import struct
import time

from harness.report import equal

from wire.connection import Closed

from .side import PLAIN

# What is not the case's own API is asked at these versions.
VERSIONS = {"JoinGroup": 7, "SyncGroup": 5, "Heartbeat": 4, "LeaveGroup": 4, "OffsetCommit": 8, "OffsetFetch": 7, "OffsetDelete": 0,
            "DescribeGroups": 5, "ListGroups": 4, "DeleteGroups": 2, "FindCoordinator": 3}
NO_GENERATION, NO_MEMBER = -1, ""
MEMBER_ID_REQUIRED, REBALANCE_IN_PROGRESS = 79, 27
SETTLING = (14, 15, 16)
LIMIT_S = 30
CONSUMER, RANGE, ROUND_ROBIN = "consumer", "range", "roundrobin"
# Names that a broker draws for members.
DRAWN = re.compile(r"(.+)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def subscription(*topics):
    """ConsumerProtocolSubscription, version 0."""
    names = b"".join(struct.pack(">h", len(name)) + name.encode() for name in topics)
    return struct.pack(">hi", 0, len(topics)) + names + struct.pack(">i", -1)


class Scene:
    """A case told as a function of a group. It has the shape of `Case`."""

    def __init__(self, api, about, script, lowest=0, highest=32767):
        self.api, self.name, self.script = api, f"{api}/{about}", script
        self.lowest, self.highest = lowest, highest

    def answers(self, side, version):
        group = Group(side, self, version)
        try:
            self.script(group)
            return group.told()
        finally:
            group.close()


class Group:
    """One group nobody else uses, and what was answered about it."""

    def __init__(self, side, scene, version):
        self.side, self.api, self.version = side, scene.api, version
        self.id = f"diff-{scene.name.replace('/', '-')}-{version}"
        self.members, self.noted = [], []
        self.client = side.client
        self.await_coordinator()

    def close(self):
        for each in self.members:
            each.client.close()

    def await_coordinator(self):
        deadline = time.monotonic() + LIMIT_S
        while True:
            found = self.client.call("FindCoordinator", VERSIONS["FindCoordinator"], {"Key": self.id})["ErrorCode"]
            if found == 0:
                # A heartbeat would be answered although the coordinator still reads its log.
                found = self.client.call("OffsetFetch", VERSIONS["OffsetFetch"], {"GroupId": self.id, "Topics": []})["ErrorCode"]
            if found not in SETTLING:
                return
            assert time.monotonic() < deadline, f"no coordinator of {self.id}: {found}"
            time.sleep(0.02)

    def version_of(self, api):
        return self.version if api == self.api else VERSIONS[api]

    def note(self, answer):
        """This answer is compared."""
        self.noted.append(answer)
        return answer

    def ask(self, api, body, client=None):
        try:
            return (client or self.client).call(api, self.version_of(api), body)
        except Closed:
            if client is None:
                self.client = self.side.client = self.side.connect()
            return {"no answer": "connection closed"}

    def asked(self, api, body, client=None):
        return self.note(self.ask(api, body, client))

    def member(self, **more):
        self.members.append(Member(self, len(self.members), **more))
        return self.members[-1]

    def told(self):
        """The answers, members by their number instead of by the name each broker draws."""
        names = {each.id: f"member {each.number}" for each in self.members if each.id}

        def named(value):
            if isinstance(value, dict):
                return {key: named(each) for key, each in value.items()}
            if isinstance(value, list):
                return [named(each) for each in value]
            if isinstance(value, str):
                return names.get(value) or DRAWN.sub(r"\1-somebody", value)
            return value

        return [named(each) for each in self.noted]

    def await_members(self, count):
        """Until so many are in the group, joined or about to."""
        deadline = time.monotonic() + LIMIT_S
        while len(self.ask("DescribeGroups", self.describe())["Groups"][0]["Members"]) < count:
            assert time.monotonic() < deadline, f"fewer than {count} members"
            time.sleep(0.005)

    # ---- requests

    def commit(self, offset=7, generation=NO_GENERATION, member=NO_MEMBER, topic=PLAIN, partition=0, metadata="", instance=None, **more):
        part = {"PartitionIndex": partition, "CommittedOffset": offset, "CommittedLeaderEpoch": 0, "CommittedMetadata": metadata}
        ids = {name: each for each, name in self.side.ids.items()}
        topics = [{"Name": topic, "TopicId": ids.get(topic, bytes(range(16))), "Partitions": [part]}]
        return {"GroupId": self.id, "GenerationIdOrMemberEpoch": generation, "MemberId": member, "GroupInstanceId": instance,
                "RetentionTimeMs": -1, "Topics": topics, **more}

    def fetch(self, topics=((PLAIN, (0,)),), group=None, member=None, epoch=-1, stable=False):
        """`topics` None: of all that were committed."""
        ids = {name: each for each, name in self.side.ids.items()}
        entries = topics and [{"Name": name, "PartitionIndexes": list(parts)} for name, parts in topics]
        with_ids = entries and [{**each, "TopicId": ids.get(each["Name"], bytes(range(16)))} for each in entries]
        one = {"GroupId": self.id if group is None else group, "MemberId": member, "MemberEpoch": epoch, "Topics": with_ids}
        return {"GroupId": one["GroupId"], "Topics": entries, "Groups": [one], "RequireStable": stable}

    def delete_offsets(self, topic=PLAIN, partition=0):
        return {"GroupId": self.id, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": partition}]}]}

    def describe(self):
        return {"Groups": [self.id], "IncludeAuthorizedOperations": False}

    def listed(self, **filters):
        """What is listed of this group."""
        answer = self.ask("ListGroups", filters)
        return {**answer, "Groups": [each for each in answer["Groups"] if each["GroupId"] == self.id]}


class Member:
    """A member that does only what it is told."""

    def __init__(self, group, number, instance=None, protocols=((RANGE, PLAIN),), kind=CONSUMER, session_ms=30_000, rebalance_ms=60_000):
        self.group, self.number, self.instance, self.kind = group, number, instance, kind
        self.protocols = [{"Name": name, "Metadata": subscription(topic)} for name, topic in protocols]
        self.session_ms, self.rebalance_ms = session_ms, rebalance_ms
        self.client = group.side.connect()
        self.id, self.generation, self.leads, self.waits_for, self.protocol = NO_MEMBER, NO_GENERATION, False, None, None

    def join_body(self, **more):
        return {"GroupId": self.group.id, "SessionTimeoutMs": self.session_ms, "RebalanceTimeoutMs": self.rebalance_ms, "MemberId": self.id,
                "GroupInstanceId": self.instance, "ProtocolType": self.kind, "Protocols": self.protocols, **more}

    def join(self):
        """Joins, which must be answered at once."""
        self.begin_join()
        return self.end_join()

    def begin_join(self):
        """Sends it once the member has its name."""
        version = self.group.version_of("JoinGroup")
        if version >= 4 and not self.id and self.instance is None:
            answer = self.client.call("JoinGroup", version, self.join_body())
            equal(answer["ErrorCode"], MEMBER_ID_REQUIRED, "first join")
            self.id = answer["MemberId"]
        self.waits_for = self.client.send("JoinGroup", version, self.join_body())

    def end_join(self):
        answer = self.client.receive("JoinGroup", self.group.version_of("JoinGroup"), self.waits_for)
        if answer["ErrorCode"] == 0:
            self.id, self.generation, self.protocol = answer["MemberId"], answer["GenerationId"], answer["ProtocolName"]
            self.leads = answer["Leader"] == self.id
        return answer

    def sync_body(self, **more):
        given = [{"MemberId": each.id, "Assignment": b"for %d" % each.number} for each in self.group.members if each.id] if self.leads else []
        return {"GroupId": self.group.id, "GenerationId": self.generation, "MemberId": self.id, "GroupInstanceId": self.instance,
                "ProtocolType": self.kind, "ProtocolName": self.protocol, "Assignments": given, **more}

    def begin_sync(self):
        self.waits_for = self.client.send("SyncGroup", self.group.version_of("SyncGroup"), self.sync_body())

    def end_sync(self):
        return self.client.receive("SyncGroup", self.group.version_of("SyncGroup"), self.waits_for)

    def sync(self):
        self.begin_sync()
        return self.end_sync()

    def beat_body(self, **more):
        return {"GroupId": self.group.id, "GenerationId": self.generation, "MemberId": self.id, "GroupInstanceId": self.instance, **more}

    def beat(self):
        return self.client.call("Heartbeat", self.group.version_of("Heartbeat"), self.beat_body())

    def leave_body(self, **more):
        one = {"MemberId": self.id, "GroupInstanceId": self.instance, "Reason": "the case says so", **more}
        return {"GroupId": self.group.id, "MemberId": one["MemberId"], "Members": [one]}

    def leave(self):
        return self.client.call("LeaveGroup", self.group.version_of("LeaveGroup"), self.leave_body())

    def await_rebalance(self):
        """Until the coordinator says that another one is joining."""
        deadline = time.monotonic() + LIMIT_S
        while self.beat()["ErrorCode"] != REBALANCE_IN_PROGRESS:
            assert time.monotonic() < deadline, "no rebalance began"
            time.sleep(0.005)


# ---- states: each leaves the group in it, with its members


def unknown(group):
    """Nobody has heard of it. The member has a name of its own making."""
    member = group.member()
    member.id, member.generation, member.protocol = "somebody", 3, RANGE
    return member


def simple(group):
    """It has offsets and never had members."""
    answer = group.ask("OffsetCommit", group.commit())
    equal(answer["Topics"][0]["Partitions"][0]["ErrorCode"], 0, "a commit of a simple group")
    member = group.member()
    member.id, member.generation, member.protocol = "somebody", 0, RANGE
    return member


def empty(group):
    """Its only member has left; its offsets are there."""
    member = stable(group)
    group.ask("OffsetCommit", group.commit(generation=member.generation, member=member.id))
    member.leave()
    return member


def stable(group):
    member = group.member()
    equal(member.join()["ErrorCode"], 0, "join")
    equal(member.sync()["ErrorCode"], 0, "sync")
    return member


def stable_static(group):
    member = group.member(instance="instance")
    equal(member.join()["ErrorCode"], 0, "join")
    equal(member.sync()["ErrorCode"], 0, "sync")
    return member


def completing(group):
    """Everybody has joined, and the leader has not said who gets what."""
    member = group.member()
    equal(member.join()["ErrorCode"], 0, "join")
    return member


def preparing(group):
    """A second member joins, and the first one has not joined again."""
    first = stable(group)
    group.member().begin_join()
    first.await_rebalance()
    return first


STATES = {"unknown": unknown, "simple": simple, "empty": empty, "stable": stable, "static": stable_static, "completing": completing,
          "preparing": preparing}
