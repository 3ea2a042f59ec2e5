"""Maths on logits: a plain-torch twin and Triton kernels for each job, behind one function that picks by device.

``contrast`` turns logits into contrastive scores, ``contrast_sample`` goes on to the drawn token in the same pass, and
``token_logprobs`` gives the log-probabilities of given tokens, forward and backward. ``entropy`` and ``js_divergence``
tell how sure a voice is and how much two differ. Shapes, units and errors stand
with each; ``FINDINGS.md`` beside the package tells what was tried and measured.
"""

from motet_kernels.contrast import ContrastRows, contrast
from motet_kernels.contrast_sample import NO_TOKEN, Drawn, Edits, Sampling, contrast_sample
from motet_kernels.divergence import entropy, js_divergence
from motet_kernels.token_logprobs import hidden_token_logprobs, token_logprobs

__all__ = [
    "NO_TOKEN",
    "ContrastRows",
    "Drawn",
    "Edits",
    "Sampling",
    "contrast",
    "contrast_sample",
    "entropy",
    "hidden_token_logprobs",
    "js_divergence",
    "token_logprobs",
]
