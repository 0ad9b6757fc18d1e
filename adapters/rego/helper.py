"""The process that evaluates policies which nobody trusts: started as `python -I -m adapters.rego.helper MEMORY CPU_SECONDS`
with a socket as its standard input. It confines itself before it sees a policy, and whatever goes wrong in it ends it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import regorus

from adapters.rego.framing import ANSWERED, FAILED, answer, asked, frame, read_frame, write_all
from adapters.rego.sandbox import confine

SOCKET = 0
AT_ONCE = 2  # the entry points; the intents' interpreters are made when they are first asked


class Asked:
    """A rule that can be asked. `pristine` is never evaluated; copies of it are."""

    def __init__(self, rule: str, pristine: Any) -> None:
        self._rule = rule
        self._pristine = pristine
        self._current = pristine.clone()

    def answer(self, document: str) -> tuple[bytes, str]:
        try:
            self._current.set_input_json(document)
            return ANSWERED, self._current.eval_rule_as_json(self._rule)
        except RuntimeError as error:
            self._current = self._pristine.clone()
            return FAILED, str(error)


class Answering:
    def __init__(self, policies: dict[str, str], data: str, questions: list[tuple[str, list[str]]]) -> None:
        self._policies = policies
        self._questions = questions
        self._base = regorus.Engine()
        self._base.add_data_json(data)
        self._made: dict[int, Asked] = {}
        for place in range(AT_ONCE):
            self._at(place)

    def answers(self, places: list[int], document: str) -> bytes:
        return answer([self._at(place).answer(document) for place in places])

    def _at(self, place: int) -> Asked:
        if place not in self._made:
            rule, files = self._questions[place]
            engine = self._base.clone()
            for file in files:
                engine.add_policy(file, self._policies[file])
            engine.eval_query("true")
            self._made[place] = Asked(rule, engine)
        return self._made[place]


def main() -> None:
    confine(int(sys.argv[1]), int(sys.argv[2]))
    setup = read_frame(SOCKET)
    if setup is None:
        return
    answering = Answering(*json.loads(setup))
    write_all(SOCKET, frame(b""))
    while (content := read_frame(SOCKET)) is not None:
        write_all(SOCKET, answering.answers(*asked(content)))


if __name__ == "__main__":
    try:
        main()
    finally:
        os._exit(0)
