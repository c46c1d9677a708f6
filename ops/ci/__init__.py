"""CI: judge a change, comment on it, retrain; the same on every host of Git."""
