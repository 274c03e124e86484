"""From a data set to its parts: the catalogue, downloads, file readers, splits, the sealed test part.

`partition` decides which ratings go to train, valid and test; `sealed` is the only way to the test part.
"""
