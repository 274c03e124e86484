"""The command line: parses arguments, prints tables or one line of JSON, and contains no logic of its own.

Everything slow is imported inside the commands, so that `mfbench --help` starts fast.
"""
