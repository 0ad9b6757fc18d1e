"""Decisions in a test's own process: the workspace's real catalog, classifier and policies, with no server, no socket and no disk.

    def test_a_clerk_may_pay(lockgate):
        assert lockgate.decide(text="pay invoice 4711", subject=Subject("anna", roles=("clerk",))).allowed

The fixture `lockgate` comes with the plugin; `Lockgate` is it, for other test runners. Needs Lockgate itself installed.
"""

from lockgate.testing.doubles import Doubles
from lockgate.testing.pipeline import Lockgate, Recorded

__all__ = ["Doubles", "Lockgate", "Recorded"]
