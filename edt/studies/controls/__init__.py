"""Controls: is it neurons or dimensions that width buys?"""
