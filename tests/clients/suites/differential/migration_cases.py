"""Groups that change their protocol while members are in them (KIP-848): each step of the way over and back."""

import struct

from harness.report import equal

from .consumer_group_cases import DESCRIBE, HEARTBEAT, JOIN, LEAVE, LEAVE_FOR_A_WHILE, Native, settle
from .groups import RANGE, ROUND_ROBIN, Scene, empty
from .side import EMPTY, PLAIN, WIDE

CLASSIC = ("JoinGroup", "SyncGroup", "Heartbeat", "LeaveGroup")


def cases():
    yield from ways()
    yield from refusals()


def assignment(*topics):
    """ConsumerProtocolAssignment, version 0: partition 0 of each."""
    parts = b"".join(struct.pack(">h", len(name)) + name.encode() + struct.pack(">ii", 1, 0) for name in topics)
    return struct.pack(">hi", 0, len(topics)) + parts + struct.pack(">i", -1)


def classic(group, words=None, **more):
    """A stable group of one classic member, which reads the only partition there is of its topic."""
    member = group.member(**more)
    equal(member.join()["ErrorCode"], 0, "join")
    given = [{"MemberId": member.id, "Assignment": assignment(PLAIN) if words is None else words}]
    equal(member.client.call("SyncGroup", group.version_of("SyncGroup"), member.sync_body(Assignments=given))["ErrorCode"], 0, "sync")
    return member


def upgraded(group, **more):
    """The same, which one of the consumer protocol has joined that reads another topic."""
    member, native = classic(group, **more), Native(group, topics=(WIDE,)).join()
    equal(member.join()["ErrorCode"], 0, "join in the new protocol")
    equal(member.sync()["ErrorCode"], 0, "sync in the new protocol")
    settle([native], 3)
    return member, native


def look(group):
    """What others are told of the group."""
    group.note(group.listed())
    group.asked(DESCRIBE, {"GroupIds": [group.id]})
    group.asked("DescribeGroups", group.describe())
    group.asked("OffsetFetch", group.fetch())


def ways():
    def upgrade(group):
        member = classic(group)
        group.ask("OffsetCommit", group.commit(generation=member.generation, member=member.id))
        group.asked(HEARTBEAT, Native(group, topics=(WIDE,)).body())
        look(group)
        group.asked("Heartbeat", member.beat_body(), member.client)
        group.asked("SyncGroup", member.sync_body(Assignments=[]), member.client)
        group.asked("OffsetCommit", group.commit(8, generation=member.generation, member=member.id))
        before = member.generation
        group.note(member.join())
        group.asked("Heartbeat", member.beat_body(GenerationId=before), member.client)
        group.note(member.sync())
        group.note(member.beat())
        group.asked("OffsetCommit", group.commit(9, generation=member.generation, member=member.id))
        group.asked("OffsetCommit", group.commit(9, generation=member.generation + 1, member=member.id))
        group.asked("OffsetCommit", group.commit(9, generation=before, member=member.id, topic=WIDE))
        group.asked("OffsetFetch", group.fetch(member=member.id, epoch=member.generation + 1))
        look(group)

    def share(group):
        """Both read the same: who has it keeps it."""
        member = classic(group)
        native = Native(group, topics=(PLAIN,))
        group.note(native.beat(native.body()))
        group.note(member.beat())
        group.note(member.join())
        group.note(member.sync())
        group.asked("LeaveGroup", member.leave_body(), member.client)
        settle([native], 1)
        look(group)

    def downgrade(group):
        member, native = upgraded(group)
        group.asked(HEARTBEAT, native.short(MemberEpoch=LEAVE))
        group.note(group.listed())
        group.note(member.beat())
        group.asked("OffsetCommit", group.commit(generation=member.generation, member=member.id))
        group.note(member.join())
        group.note(member.sync())
        group.note(member.beat())
        look(group)

    def removed(group):
        """An administrator removes the one of the consumer protocol."""
        member, native = upgraded(group)
        group.asked("LeaveGroup", {"GroupId": group.id, "MemberId": native.id, "Members": [{"MemberId": native.id}]})
        group.note(group.listed())
        group.note(member.beat())
        group.note(member.join())

    def both_leave(group):
        member, native = upgraded(group)
        group.asked("LeaveGroup", member.leave_body(), member.client)
        group.asked(HEARTBEAT, native.short(MemberEpoch=LEAVE))
        look(group)
        group.note(classic(group).beat())

    def joins_consumers(group):
        native = Native(group, topics=(WIDE,)).join()
        settle([native], 3)
        member = group.member()
        group.note(member.join())
        group.note(member.sync())
        group.asked("SyncGroup", member.sync_body(ProtocolName=ROUND_ROBIN), member.client)
        group.asked("SyncGroup", member.sync_body(ProtocolType="connect"), member.client)
        group.asked("SyncGroup", member.sync_body(GenerationId=99), member.client)
        group.asked("Heartbeat", member.beat_body(GenerationId=99), member.client)
        group.asked("Heartbeat", member.beat_body(GroupInstanceId="another"), member.client)
        group.note(member.join())
        group.note(member.sync())
        look(group)
        group.asked(HEARTBEAT, native.short(MemberId=member.id, MemberEpoch=LEAVE))
        group.note(member.beat())
        group.note(member.join())

    def static_over_and_back(group):
        first = classic(group, instance="seat")
        native = Native(group, instance="seat", topics=(PLAIN,))
        group.note(native.beat(native.body()))
        look(group)
        group.asked("Heartbeat", first.beat_body(), first.client)
        group.asked("JoinGroup", first.join_body(), first.client)
        second = group.member(instance="seat")
        group.note(second.join())
        group.note(second.sync())
        group.note(second.beat())
        group.asked(HEARTBEAT, native.short())
        group.asked("DescribeGroups", group.describe())
        group.note(group.listed())

    def static_away_and_back(group):
        native = Native(group, instance="seat", topics=(PLAIN,)).join()
        settle([native], 1)
        other = Native(group, 1, topics=(WIDE,)).join()
        settle([native, other], 1, 3)
        group.ask(HEARTBEAT, native.short(MemberEpoch=LEAVE_FOR_A_WHILE))
        member = group.member(instance="seat")
        group.note(member.join())
        group.note(member.sync())
        look(group)

    for script, about, lowest in ((upgrade, (*CLASSIC, HEARTBEAT, DESCRIBE, "OffsetCommit"), 0), (share, (*CLASSIC, HEARTBEAT), 0),
                                  (downgrade, (*CLASSIC, HEARTBEAT, "DescribeGroups"), 0), (removed, ("LeaveGroup", "JoinGroup"), 0),
                                  (both_leave, ("LeaveGroup", HEARTBEAT), 0), (joins_consumers, CLASSIC, 0),
                                  (static_over_and_back, ("JoinGroup", "SyncGroup", "Heartbeat", HEARTBEAT), 5),
                                  (static_away_and_back, ("JoinGroup", "SyncGroup", DESCRIBE), 5)):
        name = script.__name__.replace("_", "-")
        for api in about:
            # Static members are older than some versions of these.
            first = {"JoinGroup": 5, "SyncGroup": 3, "Heartbeat": 3}.get(api, 0) if lowest else 0
            yield Scene(api, f"migration-{name}", script, first)


def refusals():
    """Who may not come in, on either side."""

    def cannot_be_upgraded(about, enter):
        def script(group):
            member = enter(group)
            group.asked(HEARTBEAT, Native(group).body())
            group.note(group.listed())
            group.asked("Heartbeat", member.beat_body(), member.client)

        return Scene(HEARTBEAT, f"migration-{about}", script)

    yield cannot_be_upgraded("words-of-its-own", lambda group: classic(group, words=assignment(PLAIN)[:-4] + struct.pack(">i", 3) + b"own"))
    yield cannot_be_upgraded("no-words", lambda group: classic(group, words=b"no words"))
    yield cannot_be_upgraded("connect", lambda group: classic(group, kind="connect"))
    yield cannot_be_upgraded("empty", empty)

    def cannot_join(about, lowest=0, **change):
        def script(group):
            upgraded(group)
            other = group.member()
            group.asked("JoinGroup", other.join_body(**change), other.client)
            group.note(group.listed())

        return Scene("JoinGroup", f"migration-{about}", script, lowest)

    yield cannot_join("other-type", ProtocolType="connect")
    yield cannot_join("no-type", ProtocolType="")
    yield cannot_join("no-protocols", Protocols=[])
    yield cannot_join("no-common-protocol", Protocols=[{"Name": "mine", "Metadata": b""}])
    yield cannot_join("session-too-short", SessionTimeoutMs=5_999)
    yield cannot_join("unknown-instance", lowest=5, MemberId="nobody", GroupInstanceId="another")

    def of_the_other_protocol(group):
        """Requests that a member of the consumer protocol does not send."""
        _, native = upgraded(group)
        other = group.member()
        other.id, other.generation, other.protocol = native.id, native.epoch, RANGE
        group.asked("Heartbeat", other.beat_body())
        group.asked("SyncGroup", other.sync_body())

    for api in ("Heartbeat", "SyncGroup"):
        yield Scene(api, "migration-of-the-other-protocol", of_the_other_protocol)

    def instance_of_another(group):
        upgraded(group, instance="seat")
        other = group.member(instance="seat")
        group.asked("JoinGroup", other.join_body(MemberId="nobody"), other.client)
        group.note(other.join())
        group.note(other.sync())
        group.asked("Heartbeat", group.members[0].beat_body(), group.members[0].client)
        group.asked(HEARTBEAT, Native(group, 7, instance="seat", topics=(EMPTY,)).body(MemberEpoch=JOIN, TopicPartitions=[]))
        look(group)

    for api in ("JoinGroup", HEARTBEAT):
        yield Scene(api, "migration-instance-of-another", instance_of_another, 5 if api == "JoinGroup" else 0)

    def nameless(group):
        group.asked(DESCRIBE, {"GroupIds": [""]})
        group.asked(DESCRIBE, {"GroupIds": ["", group.id]})

    yield Scene(DESCRIBE, "migration-empty-group", nameless)
