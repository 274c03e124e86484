"""The user's own ratings: delimited text, wide or long, JSON lines, Parquet, and DataFrames.

`tables` reads a file, `text`, `columns` and `wide` do parts of that; `frames` keeps a DataFrame as such a file.
"""
