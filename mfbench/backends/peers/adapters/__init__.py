"""What runs inside the environment of a peer: `serve`, and for each peer an adapter `NAME.py` with its pins `NAME.txt`."""
