"""The loop: state replayed from the ledger, the next step, the accept rule."""
