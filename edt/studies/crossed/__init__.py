"""Tickets crossed with rests: the same surroundings around every ticket and every control."""
