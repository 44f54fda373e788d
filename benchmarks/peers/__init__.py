"""The peers: the best honest way we know to do the same work in PyTorch and JAX.

Every peer starts from the same parameters, and is compared with edt's numbers before its time is
taken. Masks are applied to gradients, samples lie where the peer is fastest, optimisers are fused
where the library can, compilation and warm-up are not timed.
"""
