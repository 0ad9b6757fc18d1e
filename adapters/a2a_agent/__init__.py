"""An agent that speaks A2A, as a destination."""
