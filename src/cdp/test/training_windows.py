"""Windows in memory for tests of training: pictures of noise, and a state that says where the chunk goes."""

import numpy as np

from cdp.data.normalise import MinMax, Stats

#: Action whose rotation is one: any small chunk around it can be run.
AN_ACTION = (0.5, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)


class Windows:
    """``rows`` windows of two 20 x 20 pictures and two states (3); the chunk goes straight to the second state in ``horizon`` rows.

    Actions are normalised from ``centre`` ± 0.1.
    """

    def __init__(self, rows, horizon=4, width=10, centre=0.0):
        rng = np.random.default_rng(rows)
        self.images = rng.integers(0, 255, (rows, 2, 20, 20, 3), dtype=np.uint8)
        self.lowdim = rng.uniform(-1, 1, (rows, 2, 3)).astype(np.float32)
        ramp = np.linspace(0.25, 1, horizon, dtype=np.float32)[:, None]
        self.actions = np.concatenate([self.lowdim[:, 1:] * ramp, np.zeros((rows, horizon, width - 3), np.float32)], axis=-1)
        middle = np.broadcast_to(np.asarray(centre, dtype=np.float64), (width,))
        self.stats = Stats(MinMax(middle - 0.1, middle + 0.1), MinMax(-np.ones(3), np.ones(3)))
        self.sha256 = "0" * 64
        self.lowdim_width, self.action_width = 3, width

    def __len__(self):
        return len(self.images)

    def batch(self, indices):
        return {"image": self.images[indices], "lowdim": self.lowdim[indices], "action": self.actions[indices]}
