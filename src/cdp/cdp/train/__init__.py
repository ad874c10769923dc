"""Training: a typed configuration, one resumable loop, and a policy bundle at the end."""
