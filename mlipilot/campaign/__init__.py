"""What to run: the campaign file's schema, its defaults, and what is checked before anything begins."""
