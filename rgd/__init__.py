"""Robust classifier guidance for diffusion models."""
