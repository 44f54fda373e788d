"""Census: which minima a width has, and how many of each."""
