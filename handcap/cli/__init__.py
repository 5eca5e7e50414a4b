"""The command line: app.py wires, one file per verb."""
