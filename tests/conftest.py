"""One process runs all tests, each on a loop of its own; a service has one loop."""

import logging


def _is_of_a_closed_loop(record: logging.LogRecord) -> bool:
    """gRPC keeps one queue of events a process, and asyncio logs it where an event was meant for the loop of an earlier test."""
    error = record.exc_info[1] if record.exc_info else None
    return "PollerCompletionQueue" in record.getMessage() and str(error) == "Event loop is closed"


logging.getLogger("asyncio").addFilter(lambda record: not _is_of_a_closed_loop(record))
