"""Reports: tables, plots, and a page that contains them."""
