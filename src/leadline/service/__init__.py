"""Feeds, recorder, retention and queries: the records of core, carried between the edges."""
