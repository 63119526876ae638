"""`python -m chunkstore` is the same program as `chunkstore`."""

from chunkstore.cli.main import main

main()
