"""What a campaign needs of the machine, looked at before the night: `mlipilot doctor`."""
