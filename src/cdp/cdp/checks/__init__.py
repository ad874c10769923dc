"""Checks of the core against closed forms: figures with their tolerances, behind ``cdp core-check``."""
