"""XOR: the smallest problem with bad minima."""
