"""The doors: one table of tools, and MCP, gRPC, HTTP and the command line as skins over it."""
