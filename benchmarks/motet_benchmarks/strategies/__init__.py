"""Which decoding strategy, at what price: the same problems for each, compared in pairs, reported as one page."""
