"""What a request may ask of several voices, checked, and how the engine does it."""
