"""What an artifact is: its manifest, descriptions, signatures, and how to check them without the engine."""
