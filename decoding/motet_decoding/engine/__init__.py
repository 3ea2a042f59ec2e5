"""How the engine does what a request asks for: everything here runs on vLLM."""
