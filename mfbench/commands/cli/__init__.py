"""The command line: arguments in, tables or one line of JSON out. Nothing here decides anything.

Everything slow is imported inside the commands, so that `mfbench --help` answers at once.
"""
