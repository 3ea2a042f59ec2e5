"""Maths on logits: Triton kernels, the plain-torch twin of each, and one public function a job."""
