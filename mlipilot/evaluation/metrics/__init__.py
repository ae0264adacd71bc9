"""One measurement a file: `measure(...)` gives its metrics' numbers, failures and curves."""
