"""`python -m llmspell` is the command `llmspell`."""

import sys

from llmspell.cli.entry import main

sys.exit(main())
