"""Every subset of r neurons of a wide network, trained alone from the weights it has inside."""
