"""`python -m mfbench` is `mfbench`."""

from mfbench.commands.cli.main import main

main()
