"""The subcommands: options, one library call, a table or JSON."""
