"""Run many settings of the parameters, each with several seeds, and compare them."""
