"""One run, from job to record: its prepared ratings, the loop over its epochs, and the JSON file that it writes.

`records` defines that file; all later rooms derive what they show from it. The search lives in `search`.
"""
