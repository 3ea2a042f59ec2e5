"""Benchmarks of motet: the gym's exact tasks, and what decoding, kernels and serving make of them."""
