"""``cdp report``: how contractive the samplers of bundles are, their baselines and controls beside them."""
