"""The HTTP service and its page; knows the library alone."""
