"""What all tests stand on."""

import signal

# A shell that runs tests in its background has them ignore Ctrl-C, and so would all they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
