"""From what is configured to the parts that run."""
