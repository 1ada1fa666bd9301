"""Editing real images with a guide: back to their noise, and to another class from there.

`inversion` finds the noise, `edits` are the ways back, `experiment` holds them against each other.
"""
