"""One file per subcommand of `cirlib`: `add_parser(subparsers)` declares it and `run(args)` does it."""
