"""What is installed here that has a part in steps: distributions, and the digests of their files."""
