"""Training at the paper's scale: data larger than memory."""
