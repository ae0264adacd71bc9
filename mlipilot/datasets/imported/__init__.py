"""A user's own labelled structures as a data set: read, checked, split by group, sealed."""
