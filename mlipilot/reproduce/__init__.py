"""`reproduce`: run one iteration of a finished run again from its record, and say what agrees."""
