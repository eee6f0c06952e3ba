"""What can be asked of the server, without the asking: one flow for each operation."""
