"""What authors of policies do with a folder of Rego: check it, test it, ask it, compare it with another. The command line only prints."""
