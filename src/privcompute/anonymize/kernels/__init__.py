"""Compiled inner loops of the anonymization half: grouping, histograms by class, Mondrian, MDAV.

They take arrays of codes and give arrays of codes: a value of a table never comes here. Each has a plain numpy oracle
in `tests/anonymize`; the check of a finished release (`recheck.py`) uses none of them. `warm.py` compiles them all.
"""
