"""Run in the directory above: python3 -m unittest discover."""
