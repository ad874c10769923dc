"""Lets torchvision be imported where its compiled operators do not fit the torch beside it, as with a CPU torch and the wheel of the package index.

torchvision then fails on the shapes of two operators that were never registered. Neither LeRobot's data sets nor robomimic's use them, so their names
are declared, without an implementation: whoever called one would get torch's own error.
"""

from __future__ import annotations

import sys
from typing import Any

_OPERATORS = ("nms", "qnms")
_declared: list[object] = []


def declare_operators() -> bool:
    """Declare what is missing; True where something was. Does nothing where torchvision imports as it is."""
    import torch

    try:
        import torchvision
    except RuntimeError as error:
        if "does not exist" not in str(error):
            raise
    else:
        return False
    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in _OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # half imported
    _declared.append(library)  # the declaration lives as long as the object
    import torchvision  # noqa: F401

    return True
