"""Images that show none of the classes, and the training of a detector that knows them."""
