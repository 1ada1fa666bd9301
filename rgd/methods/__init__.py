"""Methods newer than the paper, on the core alone: other gradients, and `steering`, which is exact."""
