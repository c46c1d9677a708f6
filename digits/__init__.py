"""The library that stages, commands and the server share. It runs neither DVC nor Git."""
