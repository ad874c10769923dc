"""MuJoCo Franka with camera and tasks behind the topics of the real robot."""

from cdp_franka_sim.gl import choose_backend

# MuJoCo reads MUJOCO_GL when it is first imported, so the choice is made before any module of this package can import it.
choose_backend()
