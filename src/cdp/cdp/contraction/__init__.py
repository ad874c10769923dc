"""Contraction of the sampler: estimators of the denoiser's Jacobian, the penalties of training, and the measured report."""
