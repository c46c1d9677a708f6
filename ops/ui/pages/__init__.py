"""A module for each page of the navigation, and what draws them."""
