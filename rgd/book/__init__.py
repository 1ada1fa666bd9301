"""What chapters need on the reader's machine: widgets, profiles and self-tests."""
