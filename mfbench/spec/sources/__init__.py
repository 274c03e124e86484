"""Where ratings come from and how their files are read: tables, entries of a catalogue, and the user's own catalogue."""
