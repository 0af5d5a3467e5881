"""Starting one of Kafka's tools and taking its output."""

import subprocess

from harness import prepare

TOOL_LIMIT_S = 60
PACKAGE = "org.apache.kafka.tools"


class Tools:
    def __init__(self, broker):
        self.broker = broker
        self.jvm = prepare.tool_jvm(broker.bootstrap)

    def run(self, tool, *arguments, stdin="", expect=0, notices=()):
        """The lines of standard output; if success was expected, any line on standard error but `notices` is a failure. With None
        for them both outputs are given, whatever they say."""
        # One of them is of another package.
        main = tool if tool.startswith("kafka.") else f"{PACKAGE}.{tool}"
        command = [*self.jvm, main, *map(str, arguments)]
        ended = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=TOOL_LIMIT_S)
        assert ended.returncode == expect, f"{tool} ended with {ended.returncode}: {ended.stdout} {ended.stderr}"
        if expect == 0 and notices is not None:
            errors = [line for line in ended.stderr.splitlines() if not is_notice(line) and line not in notices]
            assert not errors, f"{tool} complained: {errors}"
            return ended.stdout.splitlines()
        return (ended.stdout + ended.stderr).splitlines()

    def on_broker(self, tool, *arguments, **more):
        return self.run(tool, "--bootstrap-server", self.broker.bootstrap, *arguments, **more)

    def topics(self, *arguments, **more):
        return self.on_broker("TopicCommand", *arguments, **more)

    def create(self, topic, partitions=1, **settings):
        configs = [word for key, value in settings.items() for word in ("--config", f"{key.replace('_', '.')}={value}")]
        self.topics("--create", "--topic", topic, "--partitions", partitions, *configs)

    def offsets(self, topic, *arguments):
        """What GetOffsetShell prints, as {partition: offset}."""
        found = {}
        for line in self.on_broker("GetOffsetShell", "--topic", topic, *arguments):
            name, partition, offset = line.rsplit(":", 2)
            assert name == topic, f"GetOffsetShell printed {line!r}"
            found[int(partition)] = int(offset)
        return found


def is_notice(line):
    """Lines tools print though nothing is wrong: end of input, counts, deprecations."""
    return not line.strip() or line.startswith(("Processed a total of", "Option ", "The consumer rebalance protocol (KIP-848)", "WARNING: Due to limitations in metric names"))
