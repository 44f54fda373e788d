"""`python -m edt`."""

import sys

from edt.cli import main

sys.exit(main())
