"""MLIPilot: auditable auto-research campaigns for machine-learned interatomic potentials."""

__version__ = "0.1.0"
