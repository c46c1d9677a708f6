"""The gate: is this change safe to merge?"""
