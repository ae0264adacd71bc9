"""What to run: the campaign file's schema and the path of every file in a run."""
