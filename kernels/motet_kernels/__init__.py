"""Maths on logits: a plain-torch twin and Triton kernels for each job, behind one function that picks by device.

``contrast`` turns logits into contrastive scores, ``contrast_sample`` goes on to the drawn token in the same pass, and
``token_logprobs`` gives the log-probabilities of given tokens, forward and backward. Shapes, units and errors stand
with each; ``FINDINGS.md`` beside the package tells what was tried and measured.
"""

from motet_kernels.contrast import ContrastRows, contrast
from motet_kernels.contrast_sample import NO_TOKEN, Drawn, Edits, Sampling, contrast_sample
from motet_kernels.token_logprobs import hidden_token_logprobs, token_logprobs

__all__ = [
    "NO_TOKEN",
    "ContrastRows",
    "Drawn",
    "Edits",
    "Sampling",
    "contrast",
    "contrast_sample",
    "hidden_token_logprobs",
    "token_logprobs",
]
