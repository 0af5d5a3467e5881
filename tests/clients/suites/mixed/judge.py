"""What members told, held against what a group promises: nothing is missed, and nothing comes twice but what was not committed.

Record n of a partition has the value n. A member's reading of a partition from where it is assigned is a run:
1. A run has no gaps.
2. It begins no earlier than what was committed before the partition was assigned: a commit that was acknowledged holds. (Except
   that franz-go, held still beyond its session, may go on from where it was, and commit that: on Apache Kafka, too.)
3. It begins nowhere that nobody had asked to commit: nothing is passed over.
4. All runs together cover the partition, and so does what is committed in the end.
5. What our program has printed comes to nobody who is assigned the partition later, if it was left in peace until it left: it
   commits when it gives a partition back, and when it leaves.
"""

from collections import defaultdict
from dataclasses import dataclass


@dataclass
class Run:
    member: object
    partition: int
    # Not before this time was it decided where it begins.
    since_us: int
    first: int = None
    first_us: int = None
    last_us: int = None
    end: int = None


class Judge:
    def __init__(self, members):
        self.members = members
        self.runs = defaultdict(list)
        # By partition: (time, offset).
        self.acknowledged, self.asked = defaultdict(list), defaultdict(list)
        # By partition: when a member in good order gave it back, and since when that member had had it.
        self.given_back = defaultdict(list)
        # Partitions that franz-go went back in.
        self.gone_back = set()

    def judge(self, ends):
        """`ends` are the partitions' ends; gives how many records came, and how many of them more than once."""
        for member in self.members:
            for failure in member.failures():
                raise AssertionError(f"{member.name}: {failure}")
            self.collect(member)
        for partition, end in ends.items():
            runs = sorted((run for run in self.runs[partition] if run.first is not None), key=lambda run: run.since_us)
            for run in runs:
                self.check_start(run)
                self.check_followed(run, runs)
            covered = set().union(*(range(run.first, run.end) for run in runs)) if runs else set()
            missed = sorted(set(range(end)) - covered)
            assert not missed, f"partition {partition}: {len(missed)} of {end} records were missed, the first {missed[0]}"
        delivered = sum(run.end - run.first for runs in self.runs.values() for run in runs if run.first is not None)
        return delivered, delivered - sum(ends.values())

    def collect(self, member):
        held = {}
        for event in member.events:
            if event.name == "assigned":
                for partition in event.words:
                    held[partition] = self.begin(Run(member, partition, event.at_us))
            elif event.name in ("revoked", "lost"):
                for partition in event.words:
                    run = held.pop(partition, None)
                    if run and event.name == "revoked" and not member.held_still:
                        self.given_back[partition].append((event.at_us, run.since_us))
            elif event.name == "read":
                self.read(member, held, event)
            elif event.name in ("committing", "committed"):
                partition, offset = event.words
                (self.asked if event.name == "committing" else self.acknowledged)[partition].append((event.at_us, offset))

    def begin(self, run):
        self.runs[run.partition].append(run)
        return run

    def read(self, member, held, event):
        partition, offset, value = event.words
        assert value == offset, f"{member.name}: record {offset} of partition {partition} is {value}"
        run = held.get(partition)
        if member.kind == "highwater":
            # It does not tell of assignments: where it goes on elsewhere, a new run begins.
            if run is None or run.end != offset:
                run = held[partition] = self.begin(Run(member, partition, self.earliest_begin(member, run, event)))
            # It commits what it has printed.
            self.asked[partition].append((0, offset + 1))
        assert run is not None, f"{member.name} read record {offset} of partition {partition}, which is not its own"
        if run.first is None:
            run.first, run.first_us = offset, event.at_us
        else:
            assert offset == run.end, f"{member.name}: record {offset} of partition {partition} came after {run.end - 1}"
        run.end, run.last_us = offset + 1, event.at_us

    def earliest_begin(self, member, before, event):
        """When a member that does not tell may have been assigned a partition: when it began, or, if another has had it since it
        last read there, when that one gave it back."""
        last_us = before.first_us if before else 0
        returns = [at for at, since in self.given_back[event.words[0]] if last_us < since and at < event.at_us]
        return max([member.began_us, *returns])

    def check_start(self, run):
        what = f"{run.member.name} read partition {run.partition} from {run.first}"
        held = max((offset for at, offset in self.acknowledged[run.partition] if at < run.since_us), default=0)
        if run.first < held and run.member.kind == "franz-go" and run.member.held_still:
            self.gone_back.add(run.partition)
        assert run.first >= held or run.partition in self.gone_back, f"{what} though {held} was committed before it was assigned"
        asked = {offset for at, offset in self.asked[run.partition] if at < run.first_us} | {0}
        assert run.first in asked, f"{what}, where nobody had been ({max(offset for offset in asked if offset <= run.first)} is the place before)"

    @staticmethod
    def check_followed(run, runs):
        if not run.member.left_in_peace():
            return
        again = [later for later in runs if later.since_us > run.last_us and later.first < run.end]
        assert not again, f"{again[0].member.name} read partition {run.partition} from {again[0].first} though {run.member.name} had read to {run.end} before"
