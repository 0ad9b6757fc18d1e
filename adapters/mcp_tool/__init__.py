"""A tool of an MCP server, called as a destination."""
