"""Members of a group, each a process: started, ended, killed, held still; and what each of them told.

A member prints a line an event: the event's name, the time in microseconds since 1970, and
    assigned, revoked, lost   partitions
    read                      partition, offset, value
    committing, committed     partition, offset (before it is asked for, and once it is acknowledged)
    refused, failed           why (a commit; the member)
    left                      after it has left the group
Ours is the program `highwater consume`, which prints records as JSON and commits what it has printed: of it there are only
`read` events, with the time at which they arrived here.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from harness import prepare

KINDS = ("java", "librdkafka", "franz-go", "highwater")
END_LIMIT_S = 60


@dataclass(frozen=True)
class Event:
    name: str
    at_us: int
    words: tuple


class Member:
    def __init__(self, kind, number, broker, group, topic, strategy, group_changes=False):
        self.group_changes = group_changes
        self.kind, self.name, self.strategy = kind, f"{kind}-{number}", strategy
        self.began_us = now_us()
        self.events = []
        # Whether it was held still, after which it may tell of a time that is over.
        self.held_still = False
        self.is_still = False
        self.process = subprocess.Popen(command(kind, broker, group, topic, strategy), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.told = [threading.Thread(target=each, daemon=True) for each in (self.listen, self.listen_to_errors)]
        self.errors = []
        for each in self.told:
            each.start()

    def listen(self):
        for line in self.process.stdout:
            if not line.endswith("\n"):
                # It was killed while it wrote.
                return
            if self.kind == "highwater":
                record = json.loads(line)
                self.events.append(Event("read", now_us(), (record["partition"], record["offset"], int(record["value"]))))
                continue
            name, at_us, *words = line.split()
            whole = name in ("refused", "failed")
            self.events.append(Event(name, int(at_us), (" ".join(words),) if whole else tuple(map(int, words))))

    def listen_to_errors(self):
        self.errors.extend(self.process.stderr)

    def leave(self):
        """Asks it to leave and waits for its end."""
        self.process.terminate()
        self.wait()
        assert self.ended_well(), f"{self.name} ended with {self.process.returncode}: {self.errors[-5:]}"

    def kill(self):
        self.process.kill()
        self.wait()

    def hold_still(self):
        self.held_still = self.is_still = True
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)
        self.is_still = False

    def wait(self):
        self.process.wait(END_LIMIT_S)
        for each in self.told:
            each.join(END_LIMIT_S)

    def remove(self):
        if self.process.poll() is None:
            self.kill()

    def ended_well(self):
        # Who was put out of the group while it was held still cannot commit what it has, and ours says so. Nor can, on Kafka, who
        # has not heard yet that the group has changed its protocol.
        may_be_out = self.held_still or self.group_changes
        uncommitted = self.kind == "highwater" and may_be_out and any("may not be committed" in line for line in self.errors)
        # One that had hardly begun ends by the signal.
        return self.process.poll() in (None, 0, 128 + signal.SIGTERM, -signal.SIGTERM, -signal.SIGKILL) or uncommitted

    def left_in_peace(self):
        """Whether it is ours, which commits when it leaves, and nothing came over it until it had left."""
        return self.kind == "highwater" and not self.held_still and self.process.poll() == 0

    def failures(self):
        """Why it ended by itself, if it did."""
        told = [event.words[0] for event in self.events if event.name == "failed"]
        return told or ([] if self.ended_well() else [f"ended with {self.process.returncode}: {''.join(self.errors[-5:])}"])


def now_us():
    return time.time_ns() // 1000


def command(kind, broker, group, topic, strategy):
    told = [broker.bootstrap, group, topic, strategy]
    if kind == "java":
        return [*prepare.SHORT_LIVED_JVM, "-cp", prepare.java_suite(), "highwater.suite.Member", *told]
    if kind == "librdkafka":
        return [sys.executable, str(Path(__file__).with_name("librdkafka_member.py")), *told]
    if kind == "franz-go":
        return [prepare.CACHE / "go" / "member", *told]
    protocol = ["--group-protocol", "consumer"] if strategy == "consumer" else []
    return [prepare.highwater_binary(), "consume", "-b", broker.bootstrap, "-t", topic, "-g", group, "--json", "--unbuffered", "--quiet", *protocol]
