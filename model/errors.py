class BuildError(Exception):
    """The model wheel cannot be built; the message is one sentence for the person who ran the build."""
