"""A metric is one file: what `declaration` describes, and `measure(bench)` that gives numbers and curves."""
