"""Encoding and decoding of any message by its specification.

Values are dictionaries by the field's name in the specification; what a request leaves out has its default, and what a
version does not have is not written. Decoding is strict: bytes left over, or missing, are an error.
"""

import struct

INTEGERS = {"int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "float64": ">d"}


class Malformed(Exception):
    """The bytes are no such message."""


# ---- writing


def encode(message, version, values):
    out = bytearray()
    write_struct(out, message.fields, version, values, version in message.flexible)
    return bytes(out)


def write_struct(out, fields, version, values, flexible):
    unknown = set(values) - {field.name for field in fields}
    assert not unknown, f"no fields named {sorted(unknown)}"
    tagged = []
    for field in fields:
        if version not in field.versions:
            continue
        value = values.get(field.name, field.default)
        if version in field.tagged:
            if value != field.default:
                tagged.append((field.tag, field, value))
        else:
            write_value(out, field, version, value)
    if flexible:
        write_varint(out, len(tagged))
        for tag, field, value in sorted(tagged, key=lambda each: each[0]):
            content = bytearray()
            write_value(content, field, version, value)
            write_varint(out, tag)
            write_varint(out, len(content))
            out += content


def write_value(out, field, version, value):
    flexible = version in field.flexible
    if field.element:
        write_length(out, None if value is None else len(value), flexible, ">i")
        for each in value or ():
            write_one(out, field, field.element, version, each, flexible)
    else:
        write_one(out, field, field.type, version, value, flexible)


def write_one(out, field, kind, version, value, flexible):
    if kind in INTEGERS:
        out += struct.pack(INTEGERS[kind], value)
    elif kind == "bool":
        out.append(1 if value else 0)
    elif kind == "uuid":
        out += value
    elif kind in ("string", "bytes", "records"):
        content = value.encode() if isinstance(value, str) else value
        write_length(out, None if content is None else len(content), flexible, ">h" if kind == "string" else ">i")
        out += content or b""
    else:
        if version in field.nullable and not field.element:
            out += b"\xff" if value is None else b"\x01"
            if value is None:
                return
        write_struct(out, field.struct, version, value, flexible)


def write_length(out, length, flexible, fixed):
    if flexible:
        write_varint(out, 0 if length is None else length + 1)
    else:
        out += struct.pack(fixed, -1 if length is None else length)


def write_varint(out, value):
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


# ---- reading


class Reader:
    def __init__(self, data):
        self.data, self.at = memoryview(data), 0

    def take(self, count):
        if count < 0 or self.at + count > len(self.data):
            raise Malformed(f"{count} bytes wanted at {self.at}, {len(self.data) - self.at} left")
        self.at += count
        return bytes(self.data[self.at - count:self.at])

    def integer(self, code):
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value
            if shift > 35:
                raise Malformed(f"endless varint at {self.at}")

    def left(self):
        return len(self.data) - self.at


def decode(message, version, reader):
    values = read_struct(reader, message.fields, version, version in message.flexible)
    if reader.left():
        raise Malformed(f"{reader.left()} bytes after a whole {message.name} v{version}")
    return values


def read_struct(reader, fields, version, flexible):
    present = [field for field in fields if version in field.versions]
    tagged = {field.tag: field for field in present if version in field.tagged}
    values = {}
    for field in present:
        values[field.name] = field.default if version in field.tagged else read_value(reader, field, version)
    if flexible:
        for _ in range(reader.varint()):
            tag, content = reader.varint(), Reader(reader.take(reader.varint()))
            if tag not in tagged:
                values[f"tag {tag}"] = content.take(content.left())
                continue
            values[tagged[tag].name] = read_value(content, tagged[tag], version)
            if content.left():
                raise Malformed(f"{content.left()} bytes after tagged field {tagged[tag].name}")
    return values


def read_value(reader, field, version):
    flexible = version in field.flexible
    if not field.element:
        return read_one(reader, field, field.type, version, flexible)
    length = read_length(reader, flexible, ">i")
    if length is None:
        return not_null(field, version)
    if length > reader.left():
        raise Malformed(f"{length} elements of {field.name} in {reader.left()} bytes")
    return [read_one(reader, field, field.element, version, flexible) for _ in range(length)]


def read_one(reader, field, kind, version, flexible):
    if kind in INTEGERS:
        return reader.integer(INTEGERS[kind])
    if kind == "bool":
        return reader.take(1) != b"\0"
    if kind == "uuid":
        return reader.take(16)
    if kind in ("string", "bytes", "records"):
        length = read_length(reader, flexible, ">h" if kind == "string" else ">i")
        if length is None:
            return not_null(field, version)
        content = reader.take(length)
        return content.decode() if kind == "string" else content
    if version in field.nullable and not field.element and reader.integer(">b") < 0:
        return None
    return read_struct(reader, field.struct, version, flexible)


def read_length(reader, flexible, fixed):
    length = reader.varint() - 1 if flexible else reader.integer(fixed)
    return None if length < 0 else length


def not_null(field, version):
    # Record sets are written as null where nothing is there, whatever the specification says of them.
    if version not in field.nullable and field.type != "records":
        raise Malformed(f"{field.name} is null in version {version}, where it may not be")
