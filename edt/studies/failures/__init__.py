"""What failed runs are, and whether one neuron more opens a way out of them."""
