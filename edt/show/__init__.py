"""How results are shown: figures, interactive panels, pages and their words."""
