"""Labels of molecules by density functional theory: geometries in, energies and forces out.

A tool for making a benchmark, apart from what runs campaigns: of `mlipilot` it knows its errors and how
versions are told, and no campaign needs it whose labels are shipped. It needs the extra `qm`.
"""
