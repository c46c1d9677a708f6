"""The HTTP service and its page. It imports only the library, `digits`."""
