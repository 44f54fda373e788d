"""How often relu students of orthonormal relu teachers end in a spurious minimum.

Run: python examples/spurious_minima.py           (k = 6..8, 200 starts a cell, seconds)
     python examples/spurious_minima.py 6 20 1000 (k = 6..20, 1,000 starts: minutes)

Reference: I. Safran, O. Shamir, ICML 2018, arXiv 1712.08968.
"""

import sys

from edt.landscape import safran_shamir

first, last, starts = map(int, sys.argv[1:4] if len(sys.argv) == 4 else (6, 8, 200))
found = safran_shamir(range(first, last + 1), extra=(0, 1), starts=starts)
table = found.table()
print(
    table[["teacher", "student", "starts", "share", "share_low", "share_high", "levels", "minima"]]
)
