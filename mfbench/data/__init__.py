"""From a data set to its parts: the catalogue, downloads, readers, the user's own tables, splits, the sealed test part.

Which rating is train, valid or test is decided in `partition`; `sealed` is the only door to the test part.
"""
