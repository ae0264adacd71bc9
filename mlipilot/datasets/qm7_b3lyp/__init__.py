"""QM7-derived data: molecules, geometries, and their B3LYP/6-31G(d) energies and forces."""
