"""What contrast with voices of the same model gains on the gym, and what it costs to serve."""
