"""Devices that a person moves a robot with, without ROS: one interface, five kinds, and a feed that opens, loses and finds them again."""
