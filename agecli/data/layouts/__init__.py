"""Layouts of data sets: how their names and tables are read, a small file each."""
