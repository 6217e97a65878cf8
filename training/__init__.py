"""The trainer of the bundled checkpoint; not part of the installed package."""
