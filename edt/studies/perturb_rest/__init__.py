"""Perturb the rest: does a winning ticket win beside other neurons?"""
