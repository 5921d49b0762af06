"""`python -I -m daemon` is the command `driftd`."""

from daemon.cli import main

main(prog_name="driftd")
