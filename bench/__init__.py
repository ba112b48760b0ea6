"""The promises of the product, measured. `python -m bench [NAMES...] [--quick] [--markdown]`; README.md says how to read it."""
