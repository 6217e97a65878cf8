"""`python -m remotesam` is the `remotesam` command."""

from remotesam.cli.main import main

main()
