"""Runs of work on disk: parts, their store, and the engines that compute them."""
