"""SAM 2 behind one protocol: the only package of remotesam that imports torch."""
