"""What stands between a client and the broker, and loses, breaks or answers one request by itself.

Frames are passed on whole. Where an answer names the broker's port, the client reads the proxy's, so that it stays with it.
"""

import socket
import struct
import threading

from wire.codec import Reader, decode, encode

PRODUCE = 0
NOT_ENOUGH_REPLICAS = 19
# What goes wrong with a produce. A connection on which a message was lost carries nothing more, as behind a lost packet.
LOSE_REQUEST, LOSE_REPLY, CUT_REQUEST, CUT_REPLY, REFUSE = "lose request", "lose reply", "cut request", "cut reply", "refuse"


class Proxy:
    def __init__(self, specs, address):
        self.specs, self.address = specs, address
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        # Which port of ours stands for which of a broker's: more than one where several brokers have a proxy each.
        self.stands_for = {address: self.port}
        self.lock, self.fault, self.struck, self.open = threading.Lock(), None, threading.Event(), []
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    def strike(self, fault):
        """The next produce meets this."""
        with self.lock:
            assert self.fault is None, "the fault before has not happened"
            self.fault = fault
            self.struck.clear()

    def close(self):
        self.listener.close()
        with self.lock:
            sockets, self.open = self.open, []
        for each in sockets:
            shut(each)

    # ---- one connection

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(self.address)
            except OSError:
                # Nobody is there now.
                client.close()
                continue
            link = Link(self, client, broker)
            with self.lock:
                self.open += [link.client, link.broker]
            link.start()

    def take_fault(self, *among):
        with self.lock:
            if self.fault not in among:
                return None
            fault, self.fault = self.fault, None
            self.struck.set()
            return fault

    def renamed(self, frame):
        for (host, port), own in self.stands_for.items():
            old, new = (host.encode() + struct.pack(">i", each) for each in (port, own))
            frame = frame.replace(old, new)
        return frame


class Proxies:
    """One for each of several brokers, which a client finds through any of them. A fault is for one of them."""

    def __init__(self, specs, addresses):
        self.each = [Proxy(specs, address) for address in addresses]
        stands_for = {proxy.address: proxy.port for proxy in self.each}
        for proxy in self.each:
            proxy.stands_for = stands_for

    @property
    def bootstrap(self):
        return ",".join(proxy.bootstrap for proxy in self.each)

    def close(self):
        for proxy in self.each:
            proxy.close()


class Link:
    def __init__(self, proxy, client, broker):
        self.proxy, self.client, self.broker = proxy, client, broker
        for each in (client, broker):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Correlation ids of produces, and whether nothing goes through any more.
        self.produces, self.refused, self.is_dead = set(), None, False

    def start(self):
        for pump in (self.requests, self.answers):
            threading.Thread(target=self.run, args=(pump,), daemon=True).start()

    def run(self, pump):
        try:
            pump()
        except OSError:
            pass
        finally:
            shut(self.client)
            shut(self.broker)

    def requests(self):
        while (frame := receive(self.client)) is not None:
            key, version, correlation_id = struct.unpack_from(">hhi", frame)
            if self.is_dead:
                continue
            if key == PRODUCE:
                self.produces.add(correlation_id)
                if self.refused is not None:
                    # Two were on their way: the first is refused, and the second goes on.
                    send(self.client, self.refused)
                    self.refused = None
                fault = self.proxy.take_fault(LOSE_REQUEST, CUT_REQUEST, REFUSE)
                if fault == CUT_REQUEST:
                    return
                if fault == LOSE_REQUEST:
                    self.is_dead = True
                    continue
                if fault == REFUSE:
                    self.refused = self.refusal(frame, version, correlation_id)
                    continue
            send(self.broker, frame)

    def answers(self):
        while (frame := receive(self.broker)) is not None:
            (correlation_id,) = struct.unpack_from(">i", frame)
            if self.is_dead:
                continue
            if correlation_id in self.produces:
                self.produces.discard(correlation_id)
                fault = self.proxy.take_fault(LOSE_REPLY, CUT_REPLY)
                if fault == CUT_REPLY:
                    return
                if fault == LOSE_REPLY:
                    self.is_dead = True
                    continue
            send(self.client, self.proxy.renamed(frame))

    def refusal(self, frame, version, correlation_id):
        """The answer that each partition has too few replicas in sync: nothing was appended."""
        request, response = self.proxy.specs.request("Produce"), self.proxy.specs.response("Produce")
        reader = Reader(frame)
        flexible = version in request.flexible
        decode_header(reader, flexible)
        asked = decode(request, version, reader)
        topics = [{"Name": topic.get("Name", ""), "TopicId": topic.get("TopicId", bytes(16)),
                   "PartitionResponses": [{"Index": part["Index"], "ErrorCode": NOT_ENOUGH_REPLICAS, "BaseOffset": -1}
                                          for part in topic["PartitionData"]]} for topic in asked["TopicData"]]
        topics = [{key: value for key, value in topic.items() if value} for topic in topics]
        header = struct.pack(">i", correlation_id) + (b"\0" if flexible else b"")
        return header + encode(response, version, {"Responses": topics})


def decode_header(reader, flexible):
    reader.take(8)
    client_id = reader.integer(">h")
    reader.take(max(client_id, 0))
    if flexible:
        assert reader.varint() == 0, "tagged fields in the header of a request"


def receive(stream):
    size = exactly(stream, 4)
    return None if size is None else exactly(stream, struct.unpack(">i", size)[0])


def exactly(stream, count):
    received = bytearray()
    while len(received) < count:
        part = stream.recv(min(count - len(received), 1 << 20))
        if not part:
            return None
        received += part
    return bytes(received)


def send(stream, frame):
    stream.sendall(struct.pack(">i", len(frame)) + frame)


def shut(stream):
    try:
        stream.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
