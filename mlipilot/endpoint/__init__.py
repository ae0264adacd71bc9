"""A language model behind HTTP: where it is, how it is asked, what its replies mean."""
