"""Works that stand beside the paper, the core idea of each in some lines, and what it does here."""
