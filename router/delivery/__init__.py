"""What was decided and is still to go out: sealed, leased, tried until it is done or given up."""
