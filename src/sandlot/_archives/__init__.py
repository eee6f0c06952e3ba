"""Directories of this machine as tar archives: made to be sent, and written from what came."""
