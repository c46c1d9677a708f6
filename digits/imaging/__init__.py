"""From any image that a person has to the array that a model takes."""
