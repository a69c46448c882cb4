"""Sans-I/O codecs of field protocols: bytes and registers in, values out."""
