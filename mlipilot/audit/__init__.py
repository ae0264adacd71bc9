"""What makes a run checkable: digests, manifests, the ledger, the controller's lock, `verify`."""
