"""The ink of one digit on a picture, told from what lies around it; see finding.py."""
