"""How the engine does what a request asks for: everything here runs on vLLM."""

#: ``PAIRED`` + an architecture's name is that architecture with a second model inside.
PAIRED = "Paired"

#: ``SCORED`` + an architecture's name is that architecture with rewards read off its hidden states.
SCORED = "Scored"
