"""``python -m edt``."""

from edt.cli import main

main()
