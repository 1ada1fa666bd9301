"""At the paper's own scale: large data, many processes, the paper's table by one command, and what they cost."""
