"""Amazon Web Services, and servers that speak as they do: requests are signed here, and sent by our own HTTP client."""
