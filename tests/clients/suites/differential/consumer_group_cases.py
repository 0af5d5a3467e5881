"""The consumer protocol (KIP-848): heartbeats in every state of a group, and what the other requests say of such groups."""

import time

from harness.report import equal

from .groups import LIMIT_S, VERSIONS, Scene, stable as classic_stable, simple
from .side import EMPTY, PLAIN, WIDE

HEARTBEAT, DESCRIBE = "ConsumerGroupHeartbeat", "ConsumerGroupDescribe"
JOIN, LEAVE, LEAVE_FOR_A_WHILE = 0, -1, -2
VERSIONS |= {HEARTBEAT: 1, DESCRIBE: 1}


def cases():
    yield from table()
    yield from joins()
    yield from lives()


class Native:
    """A member of the consumer protocol. It draws its own name."""

    def __init__(self, group, number=0, instance=None, topics=(WIDE,)):
        self.group, self.id, self.instance, self.topics = group, f"member-{number}", instance, list(topics)
        self.epoch, self.owned = JOIN, []

    def body(self, **more):
        """All that a member says when it joins."""
        return {"GroupId": self.group.id, "MemberId": self.id, "MemberEpoch": self.epoch, "InstanceId": self.instance, "RebalanceTimeoutMs": 60_000,
                "SubscribedTopicNames": self.topics, "TopicPartitions": self.owned, **more}

    def short(self, **more):
        """What it says while nothing changes."""
        return {"GroupId": self.group.id, "MemberId": self.id, "MemberEpoch": self.epoch, "InstanceId": self.instance, "RebalanceTimeoutMs": -1,
                "SubscribedTopicNames": None, "TopicPartitions": None, **more}

    def beat(self, body=None):
        answer = self.group.ask(HEARTBEAT, body or self.short())
        equal(answer["ErrorCode"], 0, f"heartbeat of {self.id} ({answer['ErrorMessage']})")
        self.epoch = answer["MemberEpoch"]
        if answer["Assignment"] is not None:
            self.owned = answer["Assignment"]["TopicPartitions"]
        return answer

    def join(self):
        self.beat(self.body())
        return self

    def has(self):
        return sum(len(each["Partitions"]) for each in self.owned)


def settle(members, *counts):
    """Heartbeats that tell what they own, until everybody has so many partitions of one epoch."""
    deadline = time.monotonic() + LIMIT_S
    while [each.has() for each in members] != list(counts) or len({each.epoch for each in members}) > 1:
        assert time.monotonic() < deadline, f"{[(each.epoch, each.owned) for each in members]}"
        for each in members:
            each.beat(each.short(TopicPartitions=each.owned))
        time.sleep(0.02)


# ---- states


def unknown(group):
    member = Native(group)
    member.epoch = 3
    return member


def of_offsets(group):
    simple(group)
    return unknown(group)


def stable(group):
    member = Native(group).join()
    settle([member], 3)
    return member


def static(group):
    member = Native(group, instance="seat").join()
    settle([member], 3)
    return member


def away(group):
    """A static member that said that it comes back."""
    member = static(group)
    group.ask(HEARTBEAT, member.short(MemberEpoch=LEAVE_FOR_A_WHILE))
    return member


def empty(group):
    member = stable(group)
    group.ask("OffsetCommit", group.commit(generation=member.epoch, member=member.id))
    group.ask(HEARTBEAT, member.short(MemberEpoch=LEAVE))
    return member


def counts_of(first, second):
    """Three partitions are two and one, whoever has more."""
    deadline = time.monotonic() + LIMIT_S
    while sorted((first.has(), second.has())) != [1, 2]:
        assert time.monotonic() < deadline, "two members did not share"
        for each in (first, second):
            each.beat(each.short(TopicPartitions=each.owned))
        time.sleep(0.02)
    return first.has(), second.has()


STATES = {"unknown": unknown, "simple": of_offsets, "stable": stable, "static": static, "away": away, "empty": empty}


# ---- states x requests


def table():
    for state, enter in STATES.items():
        for about, api, body in requests():
            if about == "instance-taken" and state not in ("static", "away"):
                continue

            def script(group, enter=enter, api=api, body=body):
                member = enter(group)
                group.asked(api, body(group, member))
                group.note(group.listed())
                group.asked(DESCRIBE, {"GroupIds": [group.id]})
                group.asked("OffsetFetch", group.fetch())

            yield Scene(api, f"consumer-{state}-{about}", script)


def requests():
    for about, change in (("right", {}), ("unknown-member", {"MemberId": "nobody"}), ("later-epoch", {"MemberEpoch": 99}),
                          ("other-instance", {"InstanceId": "another"}), ("leaves", {"MemberEpoch": LEAVE}),
                          ("unknown-member-leaves", {"MemberId": "nobody", "MemberEpoch": LEAVE}),
                          ("leaves-for-a-while", {"MemberEpoch": LEAVE_FOR_A_WHILE}), ("epoch-minus-3", {"MemberEpoch": -3}),
                          ("unknown-assignor", {"ServerAssignor": "no such one"}), ("empty-member", {"MemberId": ""})):
        yield about, HEARTBEAT, lambda group, member, change=change: member.short(**change)
    yield "owns-nothing", HEARTBEAT, lambda group, member: member.short(TopicPartitions=[])
    yield "whole", HEARTBEAT, lambda group, member: member.body()
    yield "joins-again", HEARTBEAT, lambda group, member: member.body(MemberEpoch=JOIN, TopicPartitions=[])
    yield "instance-taken", HEARTBEAT, lambda group, member: member.body(MemberId="another", InstanceId="seat", MemberEpoch=JOIN, TopicPartitions=[])

    yield "one", DESCRIBE, lambda group, member: {"GroupIds": [group.id]}
    yield "one", "DescribeGroups", lambda group, member: group.describe()
    yield "one", "DeleteGroups", lambda group, member: {"GroupsNames": [group.id]}
    yield "subscribed", "OffsetDelete", lambda group, member: group.delete_offsets(WIDE)
    yield "not-subscribed", "OffsetDelete", lambda group, member: group.delete_offsets(PLAIN)
    yield "right", "OffsetCommit", lambda group, member: group.commit(generation=member.epoch, member=member.id, topic=WIDE)
    yield "later-epoch", "OffsetCommit", lambda group, member: group.commit(generation=99, member=member.id, topic=WIDE)
    yield "unknown-member", "OffsetCommit", lambda group, member: group.commit(generation=member.epoch, member="nobody", topic=WIDE)
    yield "nobody", "OffsetCommit", lambda group, member: group.commit()
    yield "member", "OffsetFetch", lambda group, member: group.fetch(member=member.id, epoch=member.epoch)
    yield "later-epoch", "OffsetFetch", lambda group, member: group.fetch(member=member.id, epoch=99)
    yield "unknown-member", "OffsetFetch", lambda group, member: group.fetch(member="nobody", epoch=1)
    yield "all", "OffsetFetch", lambda group, member: group.fetch(None)
    yield "classic", "Heartbeat", lambda group, member: {"GroupId": group.id, "GenerationId": member.epoch, "MemberId": member.id}
    yield "classic", "SyncGroup", lambda group, member: {"GroupId": group.id, "GenerationId": member.epoch, "MemberId": member.id,
                                                         "ProtocolType": "consumer", "ProtocolName": "range"}
    yield "classic", "LeaveGroup", lambda group, member: {"GroupId": group.id, "MemberId": "nobody", "Members": [{"MemberId": "nobody"}]}


def joins():
    """What a first heartbeat must say."""

    def join(about, lowest=0, **change):
        def script(group):
            group.asked(HEARTBEAT, Native(group).body(**change))
            group.note(group.listed())

        return Scene(HEARTBEAT, f"join-{about}", script, lowest)

    yield join("plain")
    yield join("no-timeout", RebalanceTimeoutMs=-1)
    yield join("timeout-0", RebalanceTimeoutMs=0)
    yield join("no-topics", SubscribedTopicNames=None)
    yield join("empty-topics", SubscribedTopicNames=[])
    yield join("unknown-topic", SubscribedTopicNames=["diff-nobody"])
    yield join("topics-twice", SubscribedTopicNames=[EMPTY, EMPTY])
    yield join("owns-unsaid", TopicPartitions=None)
    yield join("owns-something", TopicPartitions=[{"TopicId": bytes(range(16)), "Partitions": [0]}])
    yield join("empty-group", GroupId="")
    yield join("empty-instance", InstanceId="")
    yield join("empty-rack", RackId="")
    yield join("rack", RackId="a")
    yield join("empty-member", lowest=1, MemberId="")
    yield join("unknown-assignor", ServerAssignor="no such one")
    yield join("empty-assignor", ServerAssignor="")
    yield join("range", ServerAssignor="range")
    yield join("bad-pattern", lowest=1, SubscribedTopicNames=None, SubscribedTopicRegex="(")
    yield join("empty-pattern", lowest=1, SubscribedTopicNames=[], SubscribedTopicRegex="")

    def classic_members(group):
        """A member of the other protocol's group: its requests that are answered at once."""
        member = classic_stable(group)
        group.asked(HEARTBEAT, Native(group).short(MemberEpoch=1))
        group.asked(HEARTBEAT, Native(group).short(MemberEpoch=LEAVE))
        group.asked(DESCRIBE, {"GroupIds": [group.id]})
        group.asked("Heartbeat", member.beat_body(), member.client)

    for api in (HEARTBEAT, DESCRIBE):
        yield Scene(api, "classic-group", classic_members)

    def several(group):
        stable(group)
        group.asked(DESCRIBE, {"GroupIds": [group.id, "diff-of-nobody", group.id]})
        group.asked(DESCRIBE, {"GroupIds": []})
        group.asked(DESCRIBE, {"GroupIds": [group.id], "IncludeAuthorizedOperations": True})

    yield Scene(DESCRIBE, "several", several)


def lives():
    def changes_topics(group):
        member = stable(group)
        member.topics = [PLAIN]
        member.beat(member.short(SubscribedTopicNames=member.topics))
        settle([member], 1)
        group.asked(DESCRIBE, {"GroupIds": [group.id]})
        group.asked(HEARTBEAT, member.short(MemberEpoch=member.epoch - 1))
        group.asked(HEARTBEAT, member.short(MemberEpoch=member.epoch - 1, TopicPartitions=member.owned))
        group.asked("OffsetCommit", group.commit(generation=member.epoch - 1, member=member.id, topic=WIDE))

    def second_comes(group):
        first = stable(group)
        second = Native(group, 1).join()
        counts_of(first, second)
        settle([first, second], first.has(), second.has())
        group.asked("OffsetCommit", group.commit(generation=second.epoch, member=second.id, topic=WIDE))
        group.asked(HEARTBEAT, first.short(MemberEpoch=LEAVE))
        settle([second], 3)
        group.asked(DESCRIBE, {"GroupIds": [group.id]})
        group.note(group.listed())

    def comes_back(group):
        member = away(group)
        owned, member.owned, member.epoch, member.id = member.owned, [], JOIN, "member-1"
        group.note(member.beat(member.body()))
        equal(member.has(), sum(len(each["Partitions"]) for each in owned), "what it had")
        group.asked(HEARTBEAT, Native(group, instance="seat").short(MemberEpoch=1))
        group.asked(DESCRIBE, {"GroupIds": [group.id]})

    for script in (changes_topics, second_comes, comes_back):
        about = script.__name__.replace("_", "-")
        for api in (HEARTBEAT, DESCRIBE):
            yield Scene(api, f"consumer-{about}", script)
