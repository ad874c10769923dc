"""What a node pays once before it goes live, so that it does not pay in the middle of a control cycle."""

from __future__ import annotations

import gc

from rclpy.node import Node


def settle(node: Node) -> None:
    """Log once and set the garbage collector's view of what is loaded; call it when everything is imported and built.

    rclpy looks for the source line of every log call, and the first search walks through all loaded modules: 170 ms in the simulator (measured),
    longer than the guard lets a robot be silent. A full garbage collection visits every object of every imported library; frozen ones are left out.
    """
    node.get_logger().debug("ready")
    gc.collect()
    gc.freeze()
