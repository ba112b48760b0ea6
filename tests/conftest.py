"""One process runs all tests, each on a loop of its own; a service has one loop."""

import logging


def _is_of_a_closed_loop(record: logging.LogRecord) -> bool:
    """gRPC keeps one queue of events a process, and asyncio logs it where an event was meant for the loop of an earlier test."""
    message = record.getMessage()
    return "PollerCompletionQueue" in message and "Event loop is closed" in message


logging.getLogger("asyncio").addFilter(lambda record: not _is_of_a_closed_loop(record))
