"""A whole run over the views of a sphere."""
