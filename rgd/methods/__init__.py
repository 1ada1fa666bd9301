"""Methods newer than the paper, on the core alone: other gradients and what to do with them; `steering` is exact."""
