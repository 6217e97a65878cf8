"""One chip in, labels out."""
