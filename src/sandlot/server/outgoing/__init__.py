"""What the server sends to addresses that users give it.

Such addresses are hostile: they may name this machine, its neighbours or the metadata service of
a cloud. What may be connected to is decided by address, when the connection is made; redirects are
not followed; size and time of answers are bounded.
"""
