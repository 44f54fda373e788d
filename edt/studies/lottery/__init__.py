"""Lottery: accuracy against sparsity by iterative magnitude pruning and its rivals."""
