"""A cluster of three nodes for one suite: Highwater's binary, whose control endpoint kills and starts them, or three of Apache's."""

import signal
import urllib.request

from .broker import HeldPorts, Highwater, Kafka, accepts

COUNT = 3
# Where each node is.
RACKS = ("x", "x", "y")
ORDER_LIMIT_S = 60


class HighwaterNodes(Highwater):
    """One process."""

    more = ("--nodes", COUNT, "--racks", ",".join(RACKS), "--control", "127.0.0.1:0")

    @property
    def bootstrap(self):
        return ",".join(self.places)

    def choose_port(self):
        """Any: each node takes one of its own, and keeps it as long as the process lives."""
        return 0

    def told(self, ready):
        self.places = [node["listen"] for node in ready["nodes"]]
        self.control = ready["control"]

    def kill_node(self, node):
        self.order(node, "kill")

    def start_node(self, node):
        self.order(node, "start")

    def pause_node(self, node):
        self.order(node, "pause")

    def resume_node(self, node):
        self.order(node, "resume")

    @property
    def addresses(self):
        return [(host, int(port)) for host, _, port in (place.rpartition(":") for place in self.places)]

    def order(self, node, what):
        request = urllib.request.Request(f"http://{self.control}/nodes/{node}/{what}", method="POST")
        with urllib.request.urlopen(request, timeout=ORDER_LIMIT_S) as answer:
            answer.read()


class KafkaNode(Kafka):
    """One of several."""

    def __init__(self, number, ports, controllers, settings):
        voters = ",".join(f"{at}@127.0.0.1:{port}" for at, port in enumerate(controllers))
        super().__init__({"node.id": number, "broker.rack": RACKS[number], "controller.quorum.voters": voters, "offsets.topic.replication.factor": COUNT,
                          "transaction.state.log.replication.factor": COUNT, "transaction.state.log.min.isr": 2,
                          "default.replication.factor": COUNT, "min.insync.replicas": 2, **settings})
        self.own_port, self.controller = ports[number], controllers[number]

    def start(self, wait=True):
        properties = self.home / "server.properties"
        if self.port is None:
            self.port = self.own_port
            properties.write_text(self.properties(self.controller))
            self.format(properties)
        self.launch(["java", "-Xms384m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                     "-cp", f"{self.jars}/*", "kafka.Kafka", str(properties)])
        if wait:
            self.await_start()

    def await_start(self):
        self.wait_until(lambda: accepts(self.address), f"connection on port {self.port}")


class KafkaNodes:
    name = "kafka"

    def __init__(self, settings=None):
        self.held = HeldPorts()
        ports = [self.held.take() for _ in range(2 * COUNT)]
        self.nodes = [KafkaNode(at, ports[:COUNT], ports[COUNT:], settings or {}) for at in range(COUNT)]

    @property
    def bootstrap(self):
        return ",".join(node.bootstrap for node in self.nodes)

    def start(self):
        for node in self.nodes:
            node.start(wait=False)
        for node in self.nodes:
            node.await_start()
        return self

    def kill_node(self, node):
        self.nodes[node].kill()

    def start_node(self, node):
        self.nodes[node].start()

    def pause_node(self, node):
        self.nodes[node].process.send_signal(signal.SIGSTOP)

    def resume_node(self, node):
        self.nodes[node].process.send_signal(signal.SIGCONT)

    @property
    def addresses(self):
        return [node.address for node in self.nodes]

    def alive(self):
        return all(node.alive() for node in self.nodes)

    def tail(self):
        return "\n".join(node.tail() for node in self.nodes)

    def remove(self):
        for node in self.nodes:
            node.remove()
        self.held.let_go()


def of(target):
    return KafkaNodes if target is Kafka else HighwaterNodes
