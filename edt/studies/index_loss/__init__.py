"""The index of critical points against their loss, by width."""
