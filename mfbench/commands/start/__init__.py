"""Before the first run: what a file of ratings holds, a spec to start from, and the reference of all keys of a spec."""
