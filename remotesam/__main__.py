"""`python -m remotesam` is the `remotesam` command."""

from remotesam.cli import main

main()
