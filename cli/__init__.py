"""The command line (installed as `cxrkeras_cli`): parsing and printing only."""
