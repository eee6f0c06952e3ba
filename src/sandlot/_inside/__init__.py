"""What runs inside Python kernels: sent there as source, and standard library only.

Nothing here is imported in a kernel by its name here: `sandlot._protocols.installation` makes one
module of it all. For that reason these modules name each other only as `from . import name`, and
speak a Python old enough (3.8) for whatever a template has.
"""
