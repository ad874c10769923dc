"""Demonstrations for the eye: a contact sheet in HTML and a Rerun recording."""
