"""A doorway per subcommand: options, one library call, a table or JSON."""
