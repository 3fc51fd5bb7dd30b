"""The corpus room: files in, rows of the record out.

A reader turns one file into Arrow tables, from any position on; `index` passes over a corpus once,
and `read` gives any stretch of it. Both go through the same readers, so they cannot disagree.
"""
