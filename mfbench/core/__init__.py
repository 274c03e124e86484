"""The ground: errors, files, paths, the machine, tables of text, random numbers, the kinds of arrays.

Knows nothing of ratings, specs or runs. What is about those lives in a later room.
"""
