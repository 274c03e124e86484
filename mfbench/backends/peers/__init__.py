"""Peers: other people's libraries as backends, each in a Python environment of its own, reached through a process.

`adapters/` runs in those environments, with numpy and the peer alone; its `.txt` files pin what is installed there.
"""
