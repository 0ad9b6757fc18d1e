import sys

from lockgate_verify.cli import main

sys.exit(main())
