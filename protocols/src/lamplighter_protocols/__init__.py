"""The words that agent, hub and simulator exchange. No I/O, no sockets, no asyncio."""
