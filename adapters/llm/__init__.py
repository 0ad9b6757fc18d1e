"""A language model that answers requests, as a destination. What chooses among intents is another thing: `adapters.litellm_tier`."""
