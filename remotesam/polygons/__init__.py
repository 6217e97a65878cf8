"""From label maps to polygons that share their edges."""
