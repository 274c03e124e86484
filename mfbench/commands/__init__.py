"""What a user asks for, a file each: new, run, sweep, compare, reproduce, race. Called from Python and from `cli`.

No numerics and no file formats: a command puts the earlier rooms together.
"""
