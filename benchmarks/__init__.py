"""Speed of edt against PyTorch and JAX, measured in one run on the machine at hand.

``make bench`` runs it: a table on the terminal, ``benchmarks/results/<date>-<machine>.json`` and a
plot beside it. ``docs/performance.md`` explains the figures. ``EDT_BENCH_SMOKE=1`` runs everything
in seconds on tiny sizes, to see that it works; its figures mean nothing.
"""
