"""One case: a few requests one after another, at every version, on both sides alike."""

from dataclasses import dataclass
from typing import Callable


@dataclass
class Step:
    """A request: its fields, or a function of (side, answers so far) that gives them."""

    api: str
    body: dict | Callable
    # Most cases are about one API, at each of its versions; a step of another one has a version of its own.
    version: int | None = None


@dataclass
class Case:
    name: str
    steps: list
    lowest: int = 0
    highest: int = 32767

    @property
    def api(self):
        return next(step.api for step in self.steps if step.version is None)

    def answers(self, side, version):
        """What one side answers, with the API the case is about at this version."""
        found = []
        for step in self.steps:
            body = step.body(side, found) if callable(step.body) else step.body
            found.append(side.answer(step.api, version if step.version is None else step.version, body))
        return found


def case(api, name, body, lowest=0, highest=32767):
    return Case(f"{api}/{name}", [Step(api, body)], lowest, highest)


def several(api, name, *bodies, lowest=0, highest=32767):
    return Case(f"{api}/{name}", [body if isinstance(body, Step) else Step(api, body) for body in bodies], lowest, highest)
