"""Best-of-N: candidates of one prompt, scorers that give them numbers, and the choice among them."""
