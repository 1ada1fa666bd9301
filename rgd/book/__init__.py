"""What chapters need on the reader's machine: widgets and profiles."""
