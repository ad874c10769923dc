"""Offline reinforcement learning: a diffusion policy and twin critics from a fixed set of transitions (EDP), with the contraction penalty (CDP)."""
