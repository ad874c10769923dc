"""Contractive diffusion policies: data, networks, diffusion, contraction, training, reports and runtime. Arrays only, no ROS."""

__version__ = "0.1.0"
