"""A double of the original server, with all that a client has to put up with.

It keeps what the original keeps, in memory; commands are real processes of this machine, files real
files in a directory. Each of its modules is an area of the original. What looks like a mistake is
meant: a comment beginning with "original server" says which section of the facts it is from.
"""
