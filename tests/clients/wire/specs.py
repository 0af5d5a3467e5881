"""Kafka's message specifications, read out of the client's own jar: every API at every version, nothing copied."""

import json
import re
import zipfile

REQUEST_HEADER, RESPONSE_HEADER = "RequestHeader", "ResponseHeader"


class Range:
    """Versions a message or a field exists in: `none`, `3`, `3+` or `3-7`."""

    def __init__(self, text):
        if text == "none":
            self.low, self.high = 1, 0
        elif text.endswith("+"):
            self.low, self.high = int(text[:-1]), 32767
        else:
            low, _, high = text.partition("-")
            self.low, self.high = int(low), int(high or low)

    def __contains__(self, version):
        return self.low <= version <= self.high

    def __iter__(self):
        return iter(range(self.low, self.high + 1))


NEVER = Range("none")


class Field:
    """One field of a message or structure: what it is called, how it is written, in which versions."""

    def __init__(self, spec, structs, flexible):
        self.name, self.type = spec["name"], spec["type"]
        self.versions = Range(spec.get("versions", "0+"))
        self.nullable = Range(spec.get("nullableVersions", "none"))
        self.tagged = Range(spec.get("taggedVersions", "none"))
        self.tag = spec.get("tag")
        self.flexible = Range(spec["flexibleVersions"]) if "flexibleVersions" in spec else flexible
        self.element = self.type[2:] if self.type.startswith("[]") else None
        named = self.element or self.type
        self.struct = None
        if "fields" in spec:
            self.struct = [Field(each, structs, flexible) for each in spec["fields"]]
        elif named in structs:
            self.struct = structs[named]
        self.default = self.default_of(spec.get("default"))

    def default_of(self, text):
        if text in ("null", None) and self.nullable.low <= self.nullable.high and text == "null":
            return None
        if self.element:
            return []
        if self.struct is not None:
            return {each.name: each.default for each in self.struct}
        if self.type == "string":
            return text or ""
        if self.type in ("bytes", "records"):
            return b""
        if self.type == "uuid":
            return bytes(16)
        if self.type == "bool":
            return text in (True, "true")
        if self.type == "float64":
            return float(text or 0)
        return int(str(text or 0), 0)


class Message:
    """A request or response: its fields and which of its versions are flexible."""

    def __init__(self, spec):
        self.name = spec["name"]
        self.api_key = spec.get("apiKey")
        self.versions = Range(spec["validVersions"])
        self.flexible = Range(spec.get("flexibleVersions", "none"))
        # One may be made of another that comes after it.
        structs = {each["name"]: [] for each in spec.get("commonStructs", [])}
        for each in spec.get("commonStructs", []):
            structs[each["name"]].extend(Field(field, structs, self.flexible) for field in each["fields"])
        self.fields = [Field(each, structs, self.flexible) for each in spec["fields"]]


class Specs:
    """All messages by name, as `ProduceRequest`; loaded when first asked for."""

    def __init__(self, jar):
        self.jar = zipfile.ZipFile(jar)
        self.messages = {}

    def message(self, name):
        if name not in self.messages:
            text = self.jar.read(f"common/message/{name}.json").decode()
            self.messages[name] = Message(json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)))
        return self.messages[name]

    def request(self, api):
        return self.message(f"{api}Request")

    def response(self, api):
        return self.message(f"{api}Response")
