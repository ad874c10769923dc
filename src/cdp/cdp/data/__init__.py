"""Observations and demonstrations: one time alignment and one preprocessing for the recorded and the live robot."""
