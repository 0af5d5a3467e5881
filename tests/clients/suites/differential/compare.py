"""What of an answer counts: everything but numbers each broker draws for itself and the words of its messages."""

ZERO_ID = bytes(16)
# The id of no topic, for requests to name.
UNKNOWN_ID = bytes(range(16))
# Fields each broker fills by itself. What counts is whether there is something.
OWN_TEXT = {"ErrorMessage", "BatchIndexErrorMessage", "Documentation"}
OWN_TIME = {"LogAppendTimeMs", "LogAppendTime", "TransactionStartTimeMs", "LastTimestamp"}
OWN_NUMBER = {"SessionId", "ProducerId", "Port", "FinalizedFeaturesEpoch"}


# What an element is about: the first of these it has, and its number if it has one.
NAMES = ("Name", "User", "Topic", "TopicName", "ResourceName", "TopicId", "Key", "ApiKey")
NUMBERS = ("Index", "PartitionIndex", "Partition", "NodeId", "BrokerId")


def normalise(value, side, name=""):
    if isinstance(value, dict):
        return {key: normalise(each, side, key) for key, each in value.items()}
    if isinstance(value, list):
        # Kafka keeps many of these in hash order, and names a topic anew wherever its partitions are not neighbours.
        return sorted(merged([normalise(each, side, name) for each in value]), key=identity)
    if isinstance(value, bytes) and len(value) == 16 and name.endswith("Id"):
        return None if value == ZERO_ID else "the unknown id" if value == UNKNOWN_ID else f"id of {side.ids.get(value, 'a new topic')}"
    if name in OWN_TEXT:
        return "a text" if value else value
    if name in OWN_NUMBER and isinstance(value, int):
        return value if value < (0 if name == "ProducerId" else 1) else "a number"
    if name == "ClusterId":
        return value and "an id"
    if name == "LogDir":
        return "a folder" if value.startswith("/") else value
    if name in OWN_TIME and value > 0:
        return "a time"
    return value


def merged(topics):
    """Topics with partitions and nothing else, each once with all its partitions; other lists as they are."""
    if not all(isinstance(each, dict) and "Partitions" in each and set(each) <= {"Topic", "Name", "TopicId", "Partitions"} for each in topics):
        return topics
    found = {}
    for each in topics:
        found.setdefault(about(each), {**each, "Partitions": []})["Partitions"].extend(each["Partitions"])
    return [{**each, "Partitions": sorted(each["Partitions"], key=identity)} for each in found.values()]


def about(item):
    name = next((item[each] for each in NAMES if item.get(each) is not None), None)
    return name, next((item[each] for each in NUMBERS if each in item), None)


def identity(item):
    """Where an element is sorted, so that the same elements meet although their contents differ."""
    return (repr(about(item)), repr(item)) if isinstance(item, dict) else ("", repr(item))


def diff(ours, theirs, path=""):
    """(path, our value, their value) of each place where the two differ. Paths have no indexes."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if "no answer" in ours or "no answer" in theirs:
            if ours != theirs:
                yield "answer", ours.get("no answer", ours), theirs.get("no answer", theirs)
            return
        for key in [*theirs, *(key for key in ours if key not in theirs)]:
            yield from diff(ours.get(key, "no such field"), theirs.get(key, "no such field"), f"{path}.{key}" if path else key)
    elif isinstance(ours, list) and isinstance(theirs, list):
        yield from diff_lists(ours, theirs, f"{path}[]")
    elif ours != theirs:
        yield path, ours, theirs


def diff_lists(ours, theirs, path):
    """Elements with names meet by name, others by place. What only one side has stands at a path of its own."""
    our_names, their_names = named(ours), named(theirs)
    if our_names is None or their_names is None:
        if len(ours) != len(theirs):
            yield path, f"{len(ours)} elements {ours}", f"{len(theirs)} elements {theirs}"
            return
        for our_item, their_item in zip(ours, theirs, strict=True):
            yield from diff(our_item, their_item, path)
        return
    for name, item in their_names.items():
        if name in our_names:
            # Settings are too many and too unlike to share a path.
            yield from diff(our_names[name], item, f"{path[:-2]}[{name[0]}]" if path.endswith("Configs[]") else path)
        else:
            yield f"{path} missing", None, item
    for name, item in our_names.items():
        if name not in their_names:
            yield f"{path} extra", item, None


def named(items):
    """The elements by what they are about, or None if that does not tell them apart."""
    if not all(isinstance(each, dict) for each in items):
        return None
    found = {about(each): each for each in items}
    return found if len(found) == len(items) else None
