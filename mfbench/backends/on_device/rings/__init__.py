"""One training over several devices and processes: what lies where, the compiled programs, and the other processes."""
