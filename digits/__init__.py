"""What the others share. It runs neither DVC nor Git, and is told its parameters."""
