"""What only the server has: forms, the commands that it runs, events and labelling."""
