"""An explorable of bad minima: a page on which a reader splits neurons and descends.

Python writes the numbers of a width sweep into it (`explore_data`); the page's script (``*.js``, in
one file by `section`) computes with them. It works offline, without any other script.
"""

from edt.show.explore.data import computable, explore_data
from edt.show.explore.page import LEAD, TITLE, section

__all__ = ["LEAD", "TITLE", "computable", "explore_data", "section"]
