"""One run, from job to record: what it begins from, the loop over its epochs, the JSON file that it leaves.

`records` defines that file, from which all the later rooms derive what they show. Nothing here searches.
"""
