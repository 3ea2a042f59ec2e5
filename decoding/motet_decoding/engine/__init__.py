"""How the engine does what a request asks for: everything here runs on vLLM."""

#: ``PAIRED`` + an architecture's name is that architecture with a second model inside.
PAIRED = "Paired"

#: ``SCORED`` + an architecture's name is that architecture with rewards read off its hidden states.
SCORED = "Scored"

#: The logits processor by which those and the paired ones know which rows to score or measure.
SCORING_PROCESSOR = "motet_decoding.engine.scoring:ScoringProcessor"
