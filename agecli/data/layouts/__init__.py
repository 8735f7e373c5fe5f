"""Layouts of data sets, one file each: how their names and tables are read."""
