"""Differences from Kafka which are meant: the list in `differences.toml`, which must be neither too short nor too long."""

import re
import tomllib
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "differences.toml"


class Differences:
    def __init__(self, known=None):
        self.known = tomllib.loads(FILE.read_text()).get("difference", []) if known is None else known
        self.seen = set()
        for each in self.known:
            assert {"case", "path", "reason"} <= set(each) <= {"case", "path", "reason", "versions"}, f"{FILE.name}: {each}"

    def allows(self, case, path, version):
        """Whether the list names this place of this case."""
        for at, each in enumerate(self.known):
            low, high = each.get("versions", [0, 32767])
            if matches(each["case"], case) and matches(each["path"], path) and low <= version <= high:
                self.seen.add(at)
                return True
        return False

    def check_all_occur(self):
        stale = [f"{each['case']} {each['path']}" for at, each in enumerate(self.known) if at not in self.seen]
        assert not stale, f"listed in {FILE.name}, but no longer so: {stale}"


def matches(pattern, text):
    """A star stands for anything, all else for itself."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text) is not None
