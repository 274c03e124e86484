"""The commands, one file each (new, run, sweep, compare, reproduce, race), for Python code and for `cli`.

No numerics and no file formats: a command combines what the earlier rooms offer.
"""
