"""One page for the four claims, from the studies that test them."""
