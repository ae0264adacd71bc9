"""How work runs: a job's directory, the worker that runs one attempt, the local backend."""
