"""Loss levels: how many distinct heights the ends of training have."""
