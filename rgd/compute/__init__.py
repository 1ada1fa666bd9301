"""How a network computes with less: the number format, and memory for time."""
