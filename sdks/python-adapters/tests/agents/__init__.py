"""Worker processes that tests start, one module for each framework."""
