"""Escape: how many directions lead out of a bad minimum once neurons are added."""
