"""At the paper's own scale: data larger than memory, its table by one command, and what that costs."""
