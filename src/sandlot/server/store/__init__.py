"""What outlives the process: rows, and the queries that read and write them."""
