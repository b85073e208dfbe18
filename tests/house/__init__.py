"""The plan of the house, as tests: names, arrows, docstrings, chapters,
evidence."""
