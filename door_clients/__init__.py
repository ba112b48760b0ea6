"""Other people's clients against the doors of a running service; see README.md."""
