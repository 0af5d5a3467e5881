"""Differences from Kafka which are meant: the list in `differences.toml`, which must be neither too short nor too long."""

import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "differences.toml"


class Differences:
    def __init__(self, known=None):
        self.known = tomllib.loads(FILE.read_text()).get("difference", []) if known is None else known
        self.seen = set()
        for each in self.known:
            assert {"case", "path", "reason"} <= set(each) <= {"case", "path", "reason", "versions"}, f"{FILE.name}: {each}"

    def allows(self, case, path, version):
        """Whether the list names this place of this case; patterns are those of a shell."""
        for at, each in enumerate(self.known):
            low, high = each.get("versions", [0, 32767])
            # A path's brackets stand for themselves.
            if fnmatchcase(case, each["case"]) and fnmatchcase(path, each["path"].replace("[]", "[[]]")) and low <= version <= high:
                self.seen.add(at)
                return True
        return False

    def check_all_occur(self):
        stale = [f"{each['case']} {each['path']}" for at, each in enumerate(self.known) if at not in self.seen]
        assert not stale, f"listed in {FILE.name}, but no longer so: {stale}"
