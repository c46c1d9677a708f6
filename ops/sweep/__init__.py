"""Sweeps: many settings of the parameters, each with several seeds."""
