"""Speed beside other libraries, measured on the reader's machine."""
