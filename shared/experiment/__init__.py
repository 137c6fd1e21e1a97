"""One experiment: what is asked for, the recipe that is run, and the call that runs it."""
