"""The voices of a contrast: from what a request names to what the engine holds together."""
