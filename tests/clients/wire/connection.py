"""One connection to a broker: frames out, frames in, in the order the test says."""

import itertools
import socket
import struct

from .codec import Malformed, Reader, decode, encode

ANSWER_LIMIT_S = 30
MAX_ANSWER_BYTES = 200 << 20


class Closed(Exception):
    """The broker closed the connection."""


class Connection:
    def __init__(self, specs, address, client_id="suite"):
        self.specs, self.client_id = specs, client_id
        self.socket = socket.create_connection(address, ANSWER_LIMIT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation_ids = itertools.count(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    # ---- out

    def frame(self, api, version, values=None, correlation_id=0, body=None):
        """A whole request with its length; `body` replaces the encoded values."""
        request = self.specs.request(api)
        header = self.header(request.api_key, version, correlation_id, version in request.flexible)
        content = encode(request, version, values or {}) if body is None else body
        return struct.pack(">i", len(header) + len(content)) + header + content

    def header(self, api_key, version, correlation_id, flexible):
        fields = {"RequestApiKey": api_key, "RequestApiVersion": version, "CorrelationId": correlation_id, "ClientId": self.client_id}
        return encode(self.specs.message("RequestHeader"), 2 if flexible else 1, fields)

    def send_bytes(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(str(error)) from None

    def send(self, api, version, values=None):
        """Sends without waiting; gives the correlation id the answer must carry."""
        correlation_id = next(self.correlation_ids)
        self.send_bytes(self.frame(api, version, values, correlation_id))
        return correlation_id

    # ---- in

    def receive_frame(self):
        length = struct.unpack(">i", self.receive_bytes(4))[0]
        if not 0 <= length <= MAX_ANSWER_BYTES:
            raise Malformed(f"an answer of {length} bytes")
        return self.receive_bytes(length)

    def receive_bytes(self, count):
        received = bytearray()
        while len(received) < count:
            try:
                part = self.socket.recv(min(count - len(received), 1 << 20))
            except ConnectionResetError as error:
                raise Closed(str(error)) from None
            if not part:
                raise Closed(f"{len(received)} bytes of {count} came before the end")
            received += part
        return bytes(received)

    def receive(self, api, version, correlation_id):
        """The next answer, which must be this request's."""
        reader = Reader(self.receive_frame())
        found = reader.integer(">i")
        assert found == correlation_id, f"the answer to {api} v{version}: correlation id {found}, expected {correlation_id}"
        # An answer to ApiVersions has the old header at every version: who asks may not know the new one yet.
        if version in self.specs.response(api).flexible and api != "ApiVersions" and reader.varint() != 0:
            raise Malformed("tagged fields in the header of an answer")
        return decode(self.specs.response(api), version, reader)

    def call(self, api, version, values=None):
        return self.receive(api, version, self.send(api, version, values))

    def closed_by_broker(self):
        """True if the broker closes without another byte; an answer is a failure."""
        try:
            data = self.socket.recv(1)
        except ConnectionResetError:
            return True
        assert not data, f"bytes came where the connection should have closed: {data!r}…"
        return True
