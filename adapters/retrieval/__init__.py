"""A retrieval service: passages with their sources for a question, and an answer from them."""
