"""Diffusion in arrays: schedule, conversions between predictions, and few-step samplers. Nothing here imports torch."""
