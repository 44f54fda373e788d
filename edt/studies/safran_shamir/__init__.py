"""Spurious minima over Gaussian inputs, beside the published counts."""
