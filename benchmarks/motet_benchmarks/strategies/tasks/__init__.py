"""What strategies are tried on: the gym, files of a user's own, and files in the shape of GSM8K."""
