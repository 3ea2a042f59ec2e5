"""The `motet` command and the HTTP app on top of vLLM's own."""
