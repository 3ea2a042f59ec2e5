"""Best-of-N on the wire: what a request asks, the scorers that a server has, and the answer chosen among candidates."""
