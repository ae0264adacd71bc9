"""Who proposes: the endpoint client, the tools, the turn, and the scripted pilot."""
