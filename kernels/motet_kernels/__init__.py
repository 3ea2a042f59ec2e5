"""Maths on logits, in plain torch; Triton kernels are to stand beside it."""
