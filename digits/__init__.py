"""What the stages, the operations and the server share. Knows no params.yaml, no DVC and no Git."""
