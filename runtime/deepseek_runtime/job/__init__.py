"""How a Job's process runs: configuration in, progress while it works, one sealed result and an exit code out."""
