"""Live order books of Binance symbols, recorded every second with every trade."""

__version__ = "0.1.0"
