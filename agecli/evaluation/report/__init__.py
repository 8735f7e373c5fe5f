"""Figures laid out: cells, plots, and a page that holds them."""
