"""Real third-party clients against the stand-in, each judged by the stand-in's truth. See README.md."""
