"""Pictures and HTML of a run."""
