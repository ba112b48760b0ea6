"""Binance spot: wire format, streams, REST and its limits."""
