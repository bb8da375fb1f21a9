"""`python -m v2abench`."""

from v2abench.cli import main

main()
