"""Foundations: errors, files, paths, the machine, text tables, random numbers, array types.

Knows nothing of ratings, specs or runs; those live in later rooms.
"""
