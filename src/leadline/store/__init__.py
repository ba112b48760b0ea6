"""Records to bytes and back. The only room that knows RocksDB.

keys and codec say which bytes; engine is what a store of bytes must do, memory and rocks do it; history is the face that the
service sees: typed records in, typed records and honest holes out.
"""
