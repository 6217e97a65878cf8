"""One object, one id: joins across seams, components, scales."""
