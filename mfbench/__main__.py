"""`python -m mfbench` is `mfbench`."""

from mfbench.cli import main

main()
