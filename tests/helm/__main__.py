"""`python -m tests.helm`: writes the golden manifests anew. Read the difference before you commit it."""

from __future__ import annotations

from tests.helm.rendering import CASES, GOLDEN, golden_text

if __name__ == "__main__":
    for case in CASES:
        (GOLDEN / f"{case}.yaml").write_text(golden_text(case), encoding="utf-8")
        print(f"written: {GOLDEN.name}/{case}.yaml")
