"""Instances of the application: started, killed, held still."""

import os
import signal
import subprocess

from harness import prepare

RUNNING = "RUNNING"


class Instance:
    def __init__(self, broker, name, home, applications):
        self.broker, self.name, self.folder, self.applications = broker, name, home / name, applications
        self.folder.mkdir()
        self.output = self.folder / "output"
        self.start()

    def start(self):
        # Native libraries are unpacked where they are found again, and removed with the rest.
        command = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", f"-Djava.io.tmpdir={self.folder}",
                   "-cp", prepare.java_suite(), "highwater.suite.Streams", self.broker.bootstrap, self.name, str(self.folder), ",".join(self.applications)]
        with open(self.output, "ab") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def hold_still(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def alive(self):
        return self.process.poll() is None

    def said(self):
        return self.output.read_text(errors="replace").splitlines()

    def failures(self):
        """What its threads ended with, after which they were replaced."""
        return [line for line in self.said() if " failed " in line]
