"""A workspace of two intents, with whatever classifier a test is about."""

from __future__ import annotations

from pathlib import Path

from router.workspace import Workspace, parse, read

EXAMPLES = {
    "cancel": [f"{word} payment {number}" for word in ("cancel", "stop", "undo") for number in range(4)],
    "leave": [f"{word} {number} days of leave" for word in ("book", "request", "plan") for number in range(4)],
}


def small_workspace(folder: Path, classifier: str) -> Workspace:
    """`classifier`: that block of the configuration, in YAML's flow style."""
    intents = "".join(f"  {name}: {{route: ask, description: About {name}., examples: {each}}}\n" for name, each in EXAMPLES.items())
    files = {
        "catalog.yaml": "version: 1\n"
        "destinations: {desk: {adapter: http, upstreams: [{url: 'http://127.0.0.1:9000'}]}}\n"
        f"routes: {{ask: {{destination: desk, path: /ask, method: POST}}}}\nintents:\n{intents}",
        "policies/decision.rego": "package lockgate.decision\n",
        "lockgate.yaml": f"version: 1\nstate: state\nclassifier: {classifier}\n",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return parse(read(folder, {}), {})
