"""Fewer steps, fewer bits: works that make a sample cheaper, the core idea of each in some lines, and what it does."""
