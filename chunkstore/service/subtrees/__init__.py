"""Digests of contents by the chaining values of their chunks, instead of by their bytes.

`computing` has the rules, and why no wrong value can give a wrong digest.
"""
